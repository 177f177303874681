"""`labqdl export`: a run as one file for other programs."""

from __future__ import annotations

import click

from labqdl.cli.options import json_option
from labqdl.cli.output import Output, print_json


@click.command("export")
@click.argument("run", metavar="RUN")
@click.argument("file", metavar="FILE")
@click.option(
    "--party",
    metavar="NAME",
    help="Only what the server or the client knows. By default both joined, which only a simulation has.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file of that name.")
@json_option
@click.pass_obj
def command(output: Output, run: str, file: str, party: str | None, overwrite: bool, as_json: bool) -> int:
    """Write the record of the run in folder RUN as FILE: HDF5 (.h5) or NetCDF (.nc).

    Every variable has named axes (block, image, layer, layer1_row, ...), units and a long name; manifest and result
    are attributes, as JSON. xarray, h5py, Julia, MATLAB and others open the file without labqdl. The same run gives
    the same bytes. Secrets of the run's random numbers are never exported.
    Needs the extra: pip install 'labqdl[export]'.

    \b
    Examples:
      labqdl export runs/mine mine.nc
      labqdl export runs/mine server.h5 --party server
      python -c "import xarray; print(xarray.open_dataset('mine.nc', engine='h5netcdf'))"
    """
    from labqdl.api.exporting import JOINED, export

    target = export(run, file, party=party, overwrite=overwrite)
    notice = JOINED if party is None else f"only what the {party} knows"
    if as_json:
        print_json({"schema": "labqdl.export/1", "file": str(target), "bytes": target.stat().st_size, "notice": notice})
    else:
        output.say(f"wrote {target} ({target.stat().st_size:,} bytes); {notice}")
    return 0
