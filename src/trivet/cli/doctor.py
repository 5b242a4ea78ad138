"""`trivet doctor`: what will make measurements on this machine noisy."""

import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Tell what will make this machine's measurements noisy, and what to do.

    Looks for half a second. Exits 1 where there is a warning, 0 otherwise.
    """
    import msgspec

    from trivet.catalog.doctor import examine

    findings = examine()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)).decode())
    else:
        for finding in findings:
            click.echo(f"{finding.severity:<8} {finding.what}: {finding.measured}")
            if finding.severity != "fine":
                click.echo(f"{'':<8} why: {finding.why}\n{'':<8} fix: {finding.fix}")
    sys.exit(1 if any(finding.severity == "warning" for finding in findings) else 0)
