"""Whether the data that is found goes with the run, its corrupted images and the run that an attack transfers from."""

from __future__ import annotations

from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.module import condition_loader, list_conditions
from p2be_exp.runs.run import Run


def check_images(data: ImageDataModule, corrupted: CorruptedImages | None) -> None:
    """Check that there are the corrupted images of a data set that has been set up, before anything is computed.

    Raises:
        BadInput: the folder's labels, sizes or numbers of images are not those of the test set.
    """
    for condition in list_conditions(corrupted)[1:]:
        condition_loader(condition, data, corrupted)


def check_classes(data: ImageDataModule, run: Run) -> None:
    """Check that a data set that has been set up has the classes that a run was trained on.

    Raises:
        BadInput: it has others, as a folder of pictures may.
    """
    trained = run.info().get("classes")
    if trained is not None and trained != list(data.classes):
        different = sorted(set(trained) ^ set(data.classes))
        told = f"{len(different)} are in one alone, {different[0]} first" if different else "they are in another order"
        raise BadInput(f"dataset={data.name}: other classes than those that {run.path} was trained on ({told})")


def check_files(data: ImageDataModule, run: Run) -> None:
    """Check that a data set that has been set up has the picture files that a run was started with, split by split.

    A run of a version that did not note them yet is not checked.

    Raises:
        BadInput: it has others: the rest of an epoch would be one of other images.
    """
    noted = run.info().get("files")
    if noted is None:
        return
    for split, digest in data.digests().items():
        if noted.get(split) != digest:
            raise BadInput(
                f"resume={run.path}: {data.name}'s {split} pictures are not those that the run was started with "
                "(their names or labels differ)"
            )


def check_source_classes(data: ImageDataModule, source: Run | None) -> None:
    """Check that the run that an attack transfers from has the classes of a data set that has been set up.

    Raises:
        BadInput: it has others, as a folder of pictures may.
    """
    if source is None:
        return
    theirs = source.info().get("classes")
    if theirs is not None and theirs != list(data.classes):
        different = sorted(set(theirs) ^ set(data.classes))
        raise BadInput(
            f"attack.source={source.path}: trained on other classes than those of {data.name} here "
            f"({len(different)} are in one alone, {different[0]} first)"
        )
