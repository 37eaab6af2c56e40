"""Times transformers' `generate`, greedy, token by token. The peer of `bench-decode`: same weights, prompt, dtype, threads.

    python decode.py --base_model DIR --new_tokens 128 [--dtype bfloat16] [--threads 2]
"""

import argparse
import json
import resource
import time

import torch

from alpaca import DTYPES, load_base


class Clock:
    """What `generate` calls a streamer: it gets the prompt, then each new token."""

    def __init__(self):
        self.times = []
        self.ids = []

    def put(self, value):
        self.times.append(time.perf_counter())
        self.ids.extend(value.flatten().tolist())

    def end(self):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base_model", required=True)
    parser.add_argument("--prompt_tokens", type=int, default=5)
    parser.add_argument("--new_tokens", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quantize", choices=["nf4"], help="linear layers in 4 bits, by bitsandbytes")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_base(args.base_model, DTYPES[args.dtype], args.device, args.quantize).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    vocab = model.config.vocab_size
    prompt = [3 + i * 7919 % (vocab - 3) for i in range(args.prompt_tokens)]
    inputs = torch.tensor([prompt], device=args.device)
    first, later, ids = [], [], []
    for _ in range(args.repeats):
        clock = Clock()
        start = time.perf_counter()
        model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=False,
            max_new_tokens=args.new_tokens,
            streamer=clock,
        )
        times = clock.times[1:]
        first.append(times[0] - start)
        later.extend(b - a for a, b in zip(times, times[1:]))
        ids = clock.ids[args.prompt_tokens :]
    result = {
        "first_token_s": first,
        "token_s": later,
        "ids": ids,
        "threads": torch.get_num_threads(),
        "peak_host_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
