"""Graphs as files whose bytes depend on nothing but the graph."""

from pathlib import Path

import openvino as ov

from bertjob_serving import openvino_engine


def save(model: ov.Model, folder: Path) -> None:
    """
    Write ``model.xml`` and ``model.bin`` to *folder*.

    Names that the library counted up by itself are replaced by ordinals of the graph, and notes about versions, dates and
    paths are left out: both would differ between two builds of the same graph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for ordinal, node in enumerate(model.get_ordered_ops()):
        counted = f"{node.get_type_name()}_"
        if node.friendly_name.startswith(counted) and node.friendly_name.removeprefix(counted).isdigit():
            node.friendly_name = f"{node.get_type_name()}.{ordinal}"
    model.friendly_name = "bert-classifier"
    for key in list(model.rt_info):
        del model.rt_info[key]
    ov.serialize(model, str(folder / openvino_engine.XML), str(folder / openvino_engine.WEIGHTS))
