"""Audit: one record for each task, written before the task is released, kept until every sink has it."""
