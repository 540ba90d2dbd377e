import os
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pympi
from writing import BAD, NASTY, clip, nasty_clip, write

from spectag.tag.results import Event


def read(path: Path, data: bytes) -> pympi.Elan.Eaf:
    path.write_bytes(data)
    return pympi.Elan.Eaf(path)


def test_pympi_reads_a_tier_per_label(tmp_path: Path) -> None:
    events = Event("owl", 1 / 3, 2, 0.75), Event("fox", 1.5, 12, 0.5), Event("owl", 3, 3.0001, 0.5)
    eaf = read(tmp_path / "a.eaf", write("elan", clip("a.wav", *events)))
    assert sorted(eaf.get_tier_names()) == ["fox", "owl"]
    assert sorted(eaf.get_annotation_data_for_tier("owl")) == [(333, 2000, "owl"), (3000, 3001, "owl")]
    assert sorted(eaf.get_annotation_data_for_tier("fox")) == [(1500, 10000, "fox")]
    assert eaf.get_linked_files()[0]["MEDIA_URL"] == Path("a.wav").absolute().as_uri()


def test_the_annotations_of_a_tier_never_overlap(tmp_path: Path) -> None:
    eaf = read(tmp_path / "a.eaf", write("elan", clip("a.wav", Event("owl", 1, 3, 0.5), Event("owl", 2, 4, 0.5))))
    assert {tier: eaf.get_annotation_data_for_tier(tier) for tier in eaf.get_tier_names()} == {
        "owl": [(1000, 3000, "owl")],
        "owl (2)": [(2000, 4000, "owl")],
    }


def test_labels_survive(tmp_path: Path) -> None:
    data = write("elan", nasty_clip(os.fsdecode(b"caf\xe9 & <1>.wav")))
    root = ElementTree.fromstring(data)
    values = {element.text for element in root.iter("ANNOTATION_VALUE")}
    allowed = {label.replace("\x0b", "\ufffd").replace("\x07", "\ufffd").replace("\r\n", "\n") for label in NASTY}
    assert {(value or "").replace("\r\n", "\n") for value in values} == allowed
    [media] = root.iter("MEDIA_DESCRIPTOR")
    assert unquote_to_bytes(media.attrib["MEDIA_URL"]).endswith(b"/caf\xe9 & <1>.wav")


def test_no_event_is_a_valid_document(tmp_path: Path) -> None:
    for number, result in enumerate((clip("a.wav"), BAD)):
        eaf = read(tmp_path / f"{number}.eaf", write("elan", result))
        assert [eaf.get_annotation_data_for_tier(tier) for tier in eaf.get_tier_names()] == [[]]
