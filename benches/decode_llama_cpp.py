"""Times llama.cpp through llama-cpp-python: a prompt in one pass, then greedy tokens one by one. A peer of `bench-decode`.

    python decode_llama_cpp.py system
    python decode_llama_cpp.py quantize FROM.gguf TO.gguf Q4_0
    python decode_llama_cpp.py decode MODEL.gguf --new_tokens 128 [--prompt_tokens 256] [--threads 2] [--no_repack]

The first form prints the version and the instruction sets of its build. `--no_repack` keeps the weights in the file's layout;
llama.cpp otherwise turns those for which it has faster kernels into a layout of the processor's.
"""

import argparse
import ctypes
import json
import re
import resource
import sys
import time

import llama_cpp
import numpy as np

LOG = []


@llama_cpp.llama_log_callback
def keep_log(_level, text, _data):
    LOG.append(text.decode(errors="replace"))


def arguments():
    parser = argparse.ArgumentParser()
    forms = parser.add_subparsers(dest="form", required=True)
    forms.add_parser("system")
    quantize = forms.add_parser("quantize")
    quantize.add_argument("source")
    quantize.add_argument("target")
    quantize.add_argument("ftype")
    decode = forms.add_parser("decode")
    decode.add_argument("model")
    decode.add_argument("--prompt_tokens", type=int, default=256)
    decode.add_argument("--new_tokens", type=int, required=True)
    decode.add_argument("--repeats", type=int, default=1)
    decode.add_argument("--threads", type=int, default=1)
    decode.add_argument("--no_repack", action="store_true")
    return parser.parse_args()


def quantize(args):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{args.ftype}")
    if llama_cpp.llama_model_quantize(args.source.encode(), args.target.encode(), ctypes.byref(params)) != 0:
        sys.exit("".join(LOG[-5:]) + f"llama.cpp cannot write `{args.target}`")
    return {"target": args.target}


def decode(args):
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = not args.no_repack
    model = llama_cpp.llama_model_load_from_file(args.model.encode(), params)
    if not model:
        sys.exit("".join(LOG[-5:]) + f"llama.cpp cannot open `{args.model}`")
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    prompt = [3 + i * 7919 % (vocab - 3) for i in range(args.prompt_tokens)]
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = args.prompt_tokens + args.new_tokens
    params.n_batch = params.n_ubatch = max(512, args.prompt_tokens)
    params.n_threads = params.n_threads_batch = args.threads
    context = llama_cpp.llama_init_from_model(model, params)

    def step(tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            sys.exit("llama_decode failed")
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, shape=(vocab,)).argmax())

    first, later, ids = [], [], []
    for _ in range(args.repeats):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        tokens, ids = prompt, []
        for index in range(args.new_tokens):
            start = time.perf_counter()
            ids.append(step(tokens))
            (later if index else first).append(time.perf_counter() - start)
            tokens = ids[-1:]
    return {
        "first_token_s": first,
        "token_s": later,
        "ids": ids,
        "weight_bytes": llama_cpp.llama_model_size(model),
        "buffers": re.findall(r"(\S+) model buffer size", "".join(LOG)),
        "peak_host_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def main():
    args = arguments()
    llama_cpp.llama_log_set(keep_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    system = {"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode().strip()}
    print(json.dumps({"system": lambda _: system, "quantize": quantize, "decode": decode}[args.form](args)))


if __name__ == "__main__":
    main()
