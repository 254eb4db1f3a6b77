"""Add a trust report to results/trust.csv: python experiments/trust.py NAME RUN/trust/DATA.csv "COMMAND"

COMMAND is the command that made it, with RUN, OTHER and DATA in place of paths. A report of the same name is replaced.
"""

import sys
from pathlib import Path

import pandas as pd

TABLE = Path(__file__).parent.parent / "results" / "trust.csv"


def main(name, file, command):
    new = pd.read_csv(file).round(4)
    new.insert(0, "report", name)
    new["command"] = command
    tables = [new]
    if TABLE.exists():
        old = pd.read_csv(TABLE)
        tables.insert(0, old[old.report != name])
    pd.concat(tables).to_csv(TABLE, index=False)
    print(f"{len(new)} rows for {name}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
