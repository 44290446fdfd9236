"""From a source to published files and units that have loaded them.

The conductor lives on and never sees a value: `conductor` decides when, `rounds` runs a worker, `plan` (pure)
says what is to be done, `bundles` has it done; `messages` is all that conductor and worker say to each other.

source_book/  what the conductor knows of its sources: whom to ask, how they have done
worker/       what a worker does with values, before it dies
sources/      how each kind of source is asked, in a worker
formats/      how each format is written, in a worker
files/        published files: written, watched, shown again
sealed/       sealed copies, for a boot while a source is out
units/        telling units of a change
push/         hints of new versions: the conductor's side; the process that listens is in secretsd/push
"""
