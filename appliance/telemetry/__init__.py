"""Telemetry: metrics, logs and health of all processes. Call ``setup`` before anything imports ``telemetry.metrics``."""

from appliance.telemetry.multiprocess import setup as setup
