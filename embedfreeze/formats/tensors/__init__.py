"""Tensors of other libraries in safetensors files, and model2vec's folders of them."""
