"""Other commands start without check."""

import subprocess
import sys

from conftest import program


def test_the_start_up_of_other_commands_knows_nothing_of_it() -> None:
    code = "import sys\nfrom xentcli.__main__ import main\nsys.argv = ['xent', '--help']\nmain()\n"
    code += "assert not [name for name in sys.modules if name.startswith('xentcli.check')], sys.modules\n"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")
    assert "check" in program("--help").stdout
