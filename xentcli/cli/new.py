"""new: a case to start from."""

import click

from xentcli.cli.options import force_option, option


@click.command()
@click.argument("file", type=click.Path(path_type=str))
@option(
    "--from",
    "dump",
    metavar="DUMP",
    type=click.Path(path_type=str),
    variable="XENT_FROM",
    help="Take the arrays logits, labels and probabilities of this .npz, .pt or .safetensors file.",
)
@force_option
def new(file: str, dump: str | None, force: bool) -> None:
    """Write a case to start from to FILE (- for standard output), which must not exist yet.

    \b
    Examples:
      xent new mine.yaml
      xent new --from dump.npz mine.yaml
    """
    from xentcli import new
    from xentcli.cli import output
    from xentcli.errors import printable_lines

    output.refuse_conflicts([file], [] if dump is None else [dump], force=force)
    text = new.TEMPLATE if dump is None else new.from_dump(dump)
    with output.opened(file) as write:
        write(text)
    if "\nbad_labels:" in text:
        click.echo("some labels are invalid; bad_labels in the case says what they count for", err=True)
    if file != "-":
        click.echo(printable_lines(f"wrote {file}; 'xent run {file}' runs it"), err=True)
