import hashlib
import sys

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import asymtrack_jax
from asymtrack_jax.cli.main import script
from asymtrack_jax.convert import convert
from asymtrack_jax.convert.convert import from_pytorch, to_pytorch
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from tests import published
from tests.convert import efficientmod, torch_files


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "AsymTrack_ep0500.pth.tar"
    settings = torch_files.instance(
        "lib.train.admin.settings.Settings", torch_files.plain({"a": 1})
    )
    torch_files.save_checkpoint(path, published.state_dict("tiny"), beside={"settings": settings})
    return path


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "model_best.pth.tar"
    torch_files.save_checkpoint(path, efficientmod.state_dict(), key="state_dict")
    return path


def refuses(path, variant, output, **options):
    before = sorted(output.parent.iterdir())
    with pytest.raises(InputError) as caught:
        from_pytorch(path, variant, output, **options)
    assert sorted(output.parent.iterdir()) == before
    return str(caught.value)


def test_reproduces_the_golden_boxes(tiny_file, tmp_path):
    output = tmp_path / "tiny"
    summary = from_pytorch(tiny_file, "tiny", output)
    model = asymtrack_jax.load(output)
    with jax.default_matmul_precision("highest"):
        modulation = model.init_template(published.image("input.template", 128))
        boxes = model.step(modulation, published.image("input.search", 256)).boxes
    np.testing.assert_allclose(boxes, published.golden("tiny")["boxes_cxcywh"], atol=1e-4)

    sha256 = hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    dropped = [line.partition("dropped ")[2] for line in summary.splitlines() if "dropped" in line]
    assert checkpoint.read(output).metadata == {
        "source": "AsymTrack_ep0500.pth.tar",
        "sha256": sha256,
        "variant": "tiny",
        "kind": "tracker",
        "dropped": dropped,
    }
    for part in (
        "211 tensors",
        sha256,
        "converted 191 tensors to 187 arrays",
        "dropped 4 post_kernels: ",
        "dropped 8 modulation downsample: ",
        "dropped 8 num_batches_tracked: ",
        "tiny, 3,440,351 parameters",
        f"asymtrack track VIDEO --init-bbox x,y,w,h --checkpoint {output} --output out.mp4",
    ):
        assert part in summary


def test_there_and_back_is_exact(tiny_file, tmp_path):
    tiny = published.state_dict("tiny")
    directory, output = tmp_path / "tiny", tmp_path / "tiny.safetensors"
    from_pytorch(tiny_file, "tiny", directory)
    summary = to_pytorch(directory, output)
    back = safetensors.numpy.load_file(output)
    assert {name: (a.shape, a.dtype) for name, a in back.items()} == {
        name: (a.shape, a.dtype) for name, a in tiny.items()
    }
    zeros = {name for name, array in back.items() if not array.any()}
    assert len(zeros) == 20
    assert all(
        ".post_kernels." in name or ".downsample." in name or "num_batches" in name
        for name in zeros
    )
    for name in back.keys() - zeros:
        np.testing.assert_array_equal(back[name], tiny[name], name)
    assert "211 tensors" in summary
    assert "zeros for 4 post_kernels" in summary
    with safetensors.safe_open(output, "numpy") as file:
        assert "4 post_kernels" in file.metadata()["zeros"]


def test_the_way_back_refuses_what_it_cannot_do(tiny_file, tmp_path):
    directory, output = tmp_path / "tiny", tmp_path / "tiny.safetensors"
    from_pytorch(tiny_file, "tiny", directory)
    output.write_bytes(b"old")
    with pytest.raises(InputError, match="exists"):
        to_pytorch(directory, output)
    assert output.read_bytes() == b"old"
    with pytest.raises(InputError, match="no checkpoint"):
        to_pytorch(tmp_path / "none", output, overwrite=True)
    assert output.read_bytes() == b"old"
    with pytest.raises(InputError, match="no folder"):
        to_pytorch(directory, tmp_path / "none" / "tiny.safetensors")
    with pytest.raises(InputError, match="is a directory, and --output a file"):
        to_pytorch(directory, directory, overwrite=True)
    to_pytorch(directory, output, overwrite=True)
    assert len(safetensors.numpy.load_file(output)) == 211
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "tiny.safetensors"]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_become_float32(tmp_path, dtype):
    tensors = {
        name: array.astype(dtype) if array.dtype == np.float32 else array
        for name, array in published.state_dict("tiny").items()
    }
    torch_files.save_checkpoint(tmp_path / "net.pth", tensors)
    from_pytorch(tmp_path / "net.pth", "tiny", tmp_path / "tiny")
    kernel = checkpoint.read(tmp_path / "tiny").variables["params"]["neck"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors["bottleneck.weight"].T.astype(np.float32))


def test_backbone(backbone_file, tmp_path, monkeypatch, capsys):
    seeds = []
    init_variables = convert.init_variables

    def spy(config, seed):
        seeds.append(seed)
        return init_variables(config, seed)

    monkeypatch.setattr(convert, "init_variables", spy)
    output = tmp_path / "tiny"
    arguments = (backbone_file, "--variant", "tiny", "--output", output, "--seed", 3)
    assert command(monkeypatch, *arguments, "--backbone") is None
    assert seeds == [3]
    summary = capsys.readouterr().out
    for part in (
        "209 tensors in 'state_dict'",
        "dropped 65 stage 3, later basic blocks: ",
        "dropped 48 stage 4: ",
        "dropped 4 classifier: ",
        "initialised with seed 3: 24 modulation: ",
        "initialised with seed 3: 15 perception: ",
        "initialised with seed 3: 54 neck and head: ",
        "cannot track yet",
    ):
        assert part in summary
    saved = checkpoint.read(output)
    assert saved.metadata["kind"] == "backbone"
    assert saved.metadata["seed"] == 3
    backbone = saved.variables["params"]["backbone"]
    source = efficientmod.state_dict()
    np.testing.assert_array_equal(
        backbone["stage3"]["downsample"]["conv"]["kernel"],
        source["layers.2.downsample.proj.weight"].transpose(2, 3, 1, 0),
    )
    assert backbone["stage3"]["modulation"]["gate"]["kernel"].std() == pytest.approx(0.02, rel=0.5)
    assert not backbone["stage3"]["perception"]["scale"].any()


def test_another_variant_or_network(tiny_file, backbone_file, tmp_path):
    output = tmp_path / "out"
    assert refuses(tiny_file, "small", output).endswith(
        "is not a checkpoint of small: it fits --variant tiny"
    )
    small = tmp_path / "small.pth"
    torch_files.save_checkpoint(small, published.state_dict("small"))
    assert refuses(small, "tiny", output).endswith("it fits --variant small or base")
    assert "--variant tiny" in refuses(backbone_file, "testing", output, backbone=True)
    assert "no state dict 'net'" in refuses(backbone_file, "tiny", output)
    assert "no state dict 'state_dict'" in refuses(tiny_file, "tiny", output, backbone=True)

    other = tmp_path / "other.pth"
    tensors = {f"module.{name}": array for name, array in published.state_dict("tiny").items()}
    torch_files.save_checkpoint(other, tensors)
    message = refuses(other, "tiny", output)
    assert "not a checkpoint of tiny, nor of another variant" in message
    assert "unknown (211): module.backbone" in message
    assert "missing (191): backbone" in message
    assert "and 181 more" in message

    summary = from_pytorch(small, "base", output)
    assert "note: base and small have weights of the same shapes; the file does not" in summary


def test_weights_that_are_not_finite(tmp_path):
    tensors = dict(published.state_dict("tiny"))
    for name, value in (("bottleneck.bias", np.nan), ("box_head.conv1_br.1.running_var", np.inf)):
        tensors[name] = np.append(tensors[name][1:], np.float32(value))
    tensors["bottleneck.weight"] = tensors["bottleneck.weight"].astype(np.float64) * 1e300
    path = tmp_path / "net.pth"
    torch_files.save_checkpoint(path, tensors)
    assert refuses(path, "tiny", tmp_path / "out").endswith(
        "NaN or infinite: bottleneck.weight, bottleneck.bias, box_head.conv1_br.1.running_var"
    )


def test_an_unsafe_file_leaves_nothing(tmp_path):
    path = tmp_path / "net.pth"
    harm = torch_files.call("os.system", torch_files.plain(f"touch {tmp_path / 'executed'}"))
    torch_files.save_checkpoint(path, published.state_dict("tiny"), beside={"settings": harm})
    assert "asks to call os.system" in refuses(path, "tiny", tmp_path / "out")


def test_an_existing_output_is_kept_unless_overwritten(tiny_file, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    missing = tmp_path / "missing.pth"
    assert "exists" in refuses(missing, "tiny", output)  # looked at before anything else
    assert "not a file" in refuses(missing, "tiny", output, overwrite=True)
    assert [path.name for path in output.iterdir()] == ["notes.txt"]
    from_pytorch(tiny_file, "tiny", output, overwrite=True)
    assert checkpoint.read(output).metadata["variant"] == "tiny"


def test_an_output_that_is_a_file_is_kept(tiny_file, tmp_path):
    output = tmp_path / "out"
    output.write_bytes(b"mine")
    assert "is a file, and --output a directory" in refuses(
        tiny_file, "tiny", output, overwrite=True
    )
    assert output.read_bytes() == b"mine"


def test_the_way_back_writes_equal_bytes(tiny_file, tmp_path):
    from_pytorch(tiny_file, "tiny", tmp_path / "tiny")
    output = tmp_path / "tiny.safetensors"
    contents = set()
    for _ in range(4):
        to_pytorch(tmp_path / "tiny", output, overwrite=True)
        contents.add(output.read_bytes())
    assert len(contents) == 1


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["asymtrack", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        script("convert")
    return caught.value.code


def test_command_line(tiny_file, tmp_path, monkeypatch, capsys):
    output, file = tmp_path / "tiny", tmp_path / "tiny.safetensors"
    assert command(monkeypatch, tiny_file, "--variant", "tiny", "--output", output) is None
    assert "next: asymtrack track" in capsys.readouterr().out
    again = command(monkeypatch, tiny_file, "--variant", "tiny", "--output", output)
    assert again == f"error: {output} exists; choose another --output, or pass --overwrite"
    arguments = (tiny_file, "--variant", "tiny", "--output", output, "--overwrite")
    assert command(monkeypatch, *arguments) is None
    capsys.readouterr()
    assert command(monkeypatch, output, "--to-pytorch", "--output", file) is None
    assert "load_state_dict" in capsys.readouterr().out
    for arguments, status in (
        ((tiny_file, "--output", output), "error: --variant is needed"),
        ((tiny_file, "--variant", "huge", "--output", output), "2"),
        ((tiny_file, "--variant", "tiny"), "2"),
        ((output, "--to-pytorch", "--variant", "tiny", "--output", file), "error: --to-pytorch"),
        ((output, "--to-pytorch", "--backbone", "--output", file), "error: --to-pytorch"),
    ):
        assert str(command(monkeypatch, *arguments)).startswith(status)
