"""`geoseg doctor`."""

import click

from geoseg.cli.options import json_option


@click.command()
@json_option
def doctor(*, as_json: bool) -> int:
    """Check versions, devices, GDAL drivers and shipped files; say what is missing and how to mend it."""
    from geoseg.cli.show import print_json
    from geoseg.workflows.doctor import examine

    checks = examine()
    if as_json:
        print_json({"schema": "geoseg/doctor/1", "checks": [check.to_json() for check in checks]})
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.good else 'FAIL'} {check.name:28} {check.found}")
            if not check.good:
                click.echo(f"     {check.remedy}")
    return 0 if all(check.good for check in checks) else 1
