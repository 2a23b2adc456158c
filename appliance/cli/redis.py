"""`arcus redis`: the shared tier for leaves."""

from typing import Annotated

import typer

from appliance.cli.acting import announced
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, load_config, print_json

app = group("redis", "The shared tier for leaves.")


@app.command(
    "rotate-key", epilog=examples("arcus redis rotate-key -c arcus.yaml", "arcus redis rotate-key -c arcus.yaml --keep 0")
)
def rotate_key(
    config: ConfigOption,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, max=7, help="Former keys that are kept.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Put a new key in front of state_dir/leaf-cache.key. Copy the file to the other nodes, then `arcus reload` each."""
    from appliance.app.paths import StatePaths
    from certs import sealing

    loaded = load_config(config).config
    file = StatePaths(loaded.state_dir).leaf_cache_key
    if not file.exists():
        raise CliError(f"there is no key yet: {file}", "`arcus run` makes it when the configuration has redis")
    tenants = sorted(tenant.tenant_id for tenant in loaded.tenant)
    with announced(loaded, file.stem, tenants, "rotated", f"former keys that are kept: {keep} at most", on="key"):
        identifier = sealing.rotate(file, keep)
    if as_json:
        print_json({"file": str(file), "identifier": identifier, "kept": keep})
    else:
        print(f"{file}: sealing with {identifier} after the next start; keys before it that are kept: {keep}")
