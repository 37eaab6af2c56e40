#!/usr/bin/env bash
# The demo, kernels of quantised weights, and LoRA, QLoRA and decoding of a 7B shape, on a GPU. Needs release binaries and a libtorch with CUDA, but no cargo:
#
#     BIN=DIR LIBTORCH=DIR benches/gpu.sh
#
# BIN      directory of the binaries                        [target/release]
# LIBTORCH the directory `torch` of a PyTorch 2.11.0        [.libtorch/torch, else that of PYTHON]
# PYTHON   with transformers and peft, the peer runs too    [python3]
# DEVICE   cuda, cuda:N or cpu                              [cuda]
# DTYPE    of the frozen weights                            [bfloat16]
# PRESET   shape of the large model                         [7b]
# STEPS    of its fine-tuning                               [20]
# BASE     the small model of the demo                      [datasets/tiny-llama]
# OUT      where results go                                 [target/bench/gpu]
# KEEP     1 keeps the large model's files                  [0]
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/release}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
dtype=${DTYPE:-bfloat16}
preset=${PRESET:-7b}
steps=${STEPS:-20}
out=${OUT:-target/bench/gpu}
base=${BASE:-datasets/tiny-llama}
large=$out/$preset

for program in evaluate finetune pretrain bench-step bench-decode bench-kernels; do
    if [ ! -x "$bin/$program" ]; then
        echo "error: \`$bin/$program\` is missing; expected the release binaries (BIN names their directory)" >&2
        exit 1
    fi
done
usable() { [ -n "$1" ] && [ -f "$1/lib/libtorch_cpu.so" ]; }
libtorch=${LIBTORCH:-}
usable "$libtorch" || libtorch=$PWD/.libtorch/torch
usable "$libtorch" || libtorch=$("$python" -c 'import torch; print(torch.__path__[0])' 2>/dev/null || true)
if ! usable "$libtorch"; then
    echo "error: no libtorch found; expected LIBTORCH to be the directory \`torch\` of a PyTorch 2.11.0" >&2
    exit 1
fi
export LD_LIBRARY_PATH=$libtorch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
mkdir -p "$out"

say() { printf '\n== %s\n' "$*"; }

# Tokens per second after the first quarter of the run, in which a GPU warms up, and the peak of memory.
summary() {
    awk -v name="$2" '
        function field(key) {
            if (!match($0, "\"" key "\":[-+0-9.eE]+")) return ""
            return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0
        }
        /"tokens_per_s"/ {
            n++
            tokens[n] = field("tokens"); elapsed[n] = field("elapsed_s")
            loss = field("loss"); step = field("step")
            memory = field("memory_mib"); if (memory > peak) peak = memory
        }
        END {
            if (n == 0) { print "error: no logged step" > "/dev/stderr"; exit 1 }
            from = int(n / 4)
            rate = (tokens[n] - tokens[from]) / (elapsed[n] - elapsed[from])
            printf "%s: %d steps, loss %.4f, %.0f tokens/s, peak memory %d MiB\n", name, step, loss, rate, peak
        }' "$1/metrics.jsonl"
}

say "machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "nvidia-smi: none"
echo "libtorch: $libtorch"

say "demo: accuracy of the base model"
"$bin/evaluate" --base_model "$base" --data_path datasets/records/test.json --device "$device" --dtype "$dtype" --show 0
say "demo: fine-tuning"
"$bin/finetune" --config datasets/demo.toml --base_model "$base" --output_dir "$out/demo" --overwrite_output_dir \
    --device "$device" --dtype "$dtype"
say "demo: accuracy of the adapter"
"$bin/evaluate" --base_model "$base" --lora_weights "$out/demo" --data_path datasets/records/test.json \
    --device "$device" --dtype "$dtype" --show 0

# Each kernel is compared with tensor operations when it is first used; one that fails says so on stderr.
say "kernels of quantised weights"
"$bin/bench-kernels" --device "$device" > "$out/kernels.json"
cat "$out/kernels.json"

say "$preset: random weights"
if [ ! -f "$large/tokenizer.json" ]; then
    rm -rf "$large"
    "$bin/pretrain" --init_only --preset "$preset" --dtype "$dtype" --device "$device" --output_dir "$large"
    # The embedded tokenizer's ids lie within any larger vocabulary; giving it to pretrain would shrink the model's.
    for file in tokenizer.json tokenizer_config.json special_tokens_map.json; do
        cp "$base/$file" "$large/$file"
    done
fi

say "$preset: LoRA, $steps steps"
"$bin/finetune" --base_model "$large" --data_path datasets/mini_data.json --output_dir "$out/run" \
    --overwrite_output_dir --device "$device" --dtype "$dtype" --val_set_size 0 --batch_size 8 \
    --micro_batch_size 8 --max_steps "$steps" --warmup_steps 2 --logging_steps 1
say "$preset: QLoRA, $steps steps"
"$bin/finetune" --base_model "$large" --data_path datasets/mini_data.json --output_dir "$out/run-nf4" \
    --overwrite_output_dir --device "$device" --dtype "$dtype" --val_set_size 0 --batch_size 8 --quantize nf4 --double_quant \
    --micro_batch_size 8 --max_steps "$steps" --warmup_steps 2 --logging_steps 1

step_flags=(--base_model "$large" --data_path datasets/mini_data.json --steps 10 --batch_size 8
    --device "$device" --dtype "$dtype")
# median FILE FIELD: the middle of a list in a JSON file.
median() {
    awk -v field="$2" 'match($0, "\"" field "\": ?\\[[^]]*\\]") {
            list = substr($0, RSTART, RLENGTH); sub(/.*\[/, "", list); sub(/\]/, "", list)
            n = split(list, seconds, /, ?/)
            for (i = 2; i <= n; i++) for (j = i; j > 1 && seconds[j] + 0 < seconds[j-1] + 0; j--) {
                swap = seconds[j]; seconds[j] = seconds[j-1]; seconds[j-1] = swap
            }
            print seconds[int((n + 1) / 2)]
        }' "$1"
}
# peer SCRIPT FLAGS…: runs the other side with its own libtorch; its words where it cannot.
peer() {
    if ! "$python" -c 'import torch, transformers, peft' 2>/dev/null; then
        echo "python: skipped, \`$python\` has no torch, transformers and peft" >&2
        return 1
    fi
    env -u LD_LIBRARY_PATH HF_HUB_OFFLINE=1 "$python" "benches/$1" "${@:2}"
}
step() { echo "$1: $(median "$2" seconds_per_step) s a step, peak memory $(grep -o '"peak_device_mib": *[0-9a-z]*' "$2" | sed 's/.*: *//') MiB"; }
decode() { echo "$1: first token after $(median "$2" first_token_s) s, then $(median "$2" token_s) s a token"; }

say "$preset: one step"
rm -f "$out"/*-python.json
"$bin/bench-step" "${step_flags[@]}" --json "$out/step-rust.json"
peer train_step.py "${step_flags[@]}" --json "$out/step-python.json" || true

say "$preset: decoding, 5 tokens in, 200 out"
decode_flags=(--base_model "$large" --prompt_tokens 5 --new_tokens 200 --repeats 3 --device "$device" --dtype "$dtype")
"$bin/bench-decode" "${decode_flags[@]}" > "$out/decode-rust.json"
for quantize in nf4 int8; do
    "$bin/bench-decode" "${decode_flags[@]}" --quantize "$quantize" > "$out/decode-$quantize.json"
done
peer decode.py "${decode_flags[@]}" > "$out/decode-python.json" || rm -f "$out/decode-python.json"

say "results"
summary "$out/demo" "demo"
summary "$out/run" "$preset LoRA"
summary "$out/run-nf4" "$preset QLoRA"
for side in rust nf4 int8 python; do
    if [ -f "$out/step-$side.json" ]; then step "$side" "$out/step-$side.json"; fi
    if [ -f "$out/decode-$side.json" ]; then decode "$side" "$out/decode-$side.json"; fi
done
if [ "${KEEP:-0}" != 1 ]; then
    rm -rf "$large"
fi
