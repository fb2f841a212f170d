"""The ONNX graph: built from folded weights, rewritten by passes, counted.

ONNX (``onnx_ir``) is the only intermediate representation. Tensors are NCHW float32;
``image`` [1, 3, S, S] RGB in 0..1 goes in, ``swapped`` [1, 3, S, S] and ``mask``
[1, 1, S, S] in 0..1 come out.
"""
