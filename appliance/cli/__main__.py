"""`python -m appliance.cli` is `arcus`."""

from appliance.cli.root import main

main()
