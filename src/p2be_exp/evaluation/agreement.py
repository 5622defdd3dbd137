"""Checks that the data found matches the run, its corrupted images, and the run that an attack transfers from."""

from __future__ import annotations

from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.module import condition_loader, list_conditions
from p2be_exp.runs.run import Run


def check_images(data: ImageDataModule, corrupted: CorruptedImages | None) -> None:
    """Check that the corrupted images of a data set that has been set up exist, before anything is computed.

    Raises:
        BadInput: the labels, image sizes or number of images in the folder differ from the test set's.
    """
    for condition in list_conditions(corrupted)[1:]:
        condition_loader(condition, data, corrupted)


def check_classes(data: ImageDataModule, run: Run) -> None:
    """Check that a data set that has been set up has the classes that a run was trained on.

    Raises:
        BadInput: its classes differ, as those of a folder of pictures may.
    """
    trained = run.info().get("classes")
    if trained is not None and trained != list(data.classes):
        different = sorted(set(trained) ^ set(data.classes))
        difference = f"{len(different)} differ, {different[0]} first" if different else "their order differs"
        raise BadInput(f"dataset={data.name}: not the classes that {run.path} was trained on ({difference})")


def check_files(data: ImageDataModule, run: Run) -> None:
    """Check that a data set that has been set up has the picture files that a run was started with, split by split.

    Runs of earlier versions did not record them and are not checked.

    Raises:
        BadInput: the files differ: the rest of an epoch would use other images.
    """
    recorded = run.info().get("files")
    if recorded is None:
        return
    for split, digest in data.digests().items():
        if recorded.get(split) != digest:
            raise BadInput(
                f"resume={run.path}: {data.name}'s {split} pictures are not those that the run was started with "
                "(their names or labels differ)"
            )


def check_source_classes(data: ImageDataModule, source: Run | None) -> None:
    """Check that the run that an attack transfers from has the classes of a data set that has been set up.

    Raises:
        BadInput: its classes differ, as those of a folder of pictures may.
    """
    if source is None:
        return
    theirs = source.info().get("classes")
    if theirs is not None and theirs != list(data.classes):
        different = sorted(set(theirs) ^ set(data.classes))
        raise BadInput(
            f"attack.source={source.path}: not trained on the classes of {data.name} here "
            f"({len(different)} differ, {different[0]} first)"
        )
