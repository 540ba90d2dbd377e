"""The wheel, as a stranger gets it: installed into an empty environment, used from another directory."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_tags_a_clip_from_another_directory(tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", ROOT, cwd=tmp_path)
    [wheel] = (tmp_path / "dist").glob("spectag-*.whl")
    assert wheel.stat().st_size < 16e6

    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies, half a gigabyte, are lent by this environment: what a .pth file adds comes after the venv's own
    # packages, and its own .pth files (this project's editable install among them) are not followed.
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(python, "-c", "import spectag; print(spectag.__file__)", cwd=elsewhere).strip()
    assert Path(where).is_relative_to(packages)
    command = tmp_path / "env" / "bin" / "spectag"
    out = run(command, "tag", ROOT / "examples" / "rain.ogg", "--format", "jsonl", cwd=elsewhere)
    assert json.loads(out)["tags"][0]["label"] == "Rain"


def test_the_sdist_holds_what_the_wheel_needs(tmp_path):
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    [sdist] = tmp_path.glob("spectag-*.tar.gz")
    names = run("tar", "tzf", sdist, cwd=tmp_path).split()
    inside = {name.split("/", 1)[1] for name in names}
    wanted = (
        "src/spectag/models/esc10/model.safetensors",
        "src/spectag/train/recipes/esc10.yaml",
        "src/spectag/pages/report.html",
        "LICENSE",
        "README.md",
    )
    assert inside.issuperset(wanted)
