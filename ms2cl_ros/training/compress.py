# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported files made smaller, matrices kept as float16 or matrix products in int8, and made whole again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SMALL = 64  # numbers; what is smaller is not worth a node
WIDE = "_float32"


def name_all(path: Path) -> None:
    """Makes constants again of those that torch's exporter has merged with others of the same numbers.

    It leaves their names to nodes that pass the other constant on; who trains the model on looks for constants.
    """
    import onnx
    from onnx import helper
    model = onnx.load(str(path))
    known = {i.name: i for i in model.graph.initializer}
    passed_on = [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in known]
    for node in passed_on:
        again = helper.make_tensor(node.output[0], known[node.input[0]].data_type, known[node.input[0]].dims,
                                   known[node.input[0]].raw_data, raw=True)
        model.graph.initializer.append(again)
        model.graph.node.remove(node)
    if passed_on:
        onnx.save(model, str(path))


def halve(path: Path) -> None:
    """Rewrites an ONNX file with its large float32 constants as float16, each followed by a cast.

    ONNX Runtime folds the casts when it loads the file, so that it computes in float32 as before. The constants keep
    their names and shapes. Those that float16 cannot hold stay.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    model = onnx.load(str(path))
    graph, casts = model.graph, {}
    for constant in graph.initializer:
        if constant.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(constant)
        if values.size < SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), constant.name))
        casts[constant.name] = helper.make_node("Cast", [constant.name], [constant.name + WIDE], to=TensorProto.FLOAT)
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [name + WIDE if name in casts else name for name in node.input]
    del graph.node[:]
    graph.node.extend([*casts.values(), *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def quantise(path: Path) -> None:
    """Rewrites an ONNX file with int8 weights in its matrix products, whose other side is quantised as it comes.

    Convolutions stay as they are: ONNX Runtime's integer convolutions are slower than its float ones.
    """
    import onnx
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic
    # the exporter leaves weights behind a transposition, where the quantiser does not see them
    folded = path.with_suffix(".folded")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(folded), 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    quantize_dynamic(str(folded), str(path), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                     weight_type=QuantType.QInt8)
    folded.unlink()
    # ONNX Runtime names the newest of all its operator sets, of which older ones then refuse to read even the unused
    model = onnx.load(str(path))
    used = {node.domain for node in model.graph.node}
    kept = [s for s in model.opset_import if s.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, str(path))
