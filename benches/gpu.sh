#!/usr/bin/env bash
# The bars of docs/gpu.md on a GPU: attention, kernels, LoRA, QLoRA and decoding of a 7B shape with random weights, beside
# transformers, peft and bitsandbytes; and the demo. Ten minutes on an H200. Needs release binaries and a libtorch with CUDA, but no cargo:
#
#     BIN=DIR LIBTORCH=DIR benches/gpu.sh
#
# BIN      directory of the binaries                        [target/release]
# LIBTORCH the directory `torch` of a PyTorch 2.11.0        [.libtorch/torch, else that of PYTHON]
# PYTHON   with transformers and peft, the peer runs too    [python3]
# DEVICE   cuda, cuda:N or cpu                              [cuda]
# DTYPE    of the frozen weights                            [bfloat16]
# PRESET   shape of the large model                         [7b]
# STEPS    of each measurement of training                  [10]
# TOKENS   of a record, and of an answer                    [512 200]
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
steps=${STEPS:-10}
read -r length answer <<<"${TOKENS:-512 200}"
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
rm -f "$out"/*.json

say() { printf '\n== %s\n' "$*"; }

# median FILE FIELD: the middle of a list in a JSON file, or the number.
median() {
    awk -v field="$2" 'match($0, "\"" field "\": ?\\[?[-+0-9.eE, ]+") {
            list = substr($0, RSTART, RLENGTH); gsub(/^[^:]*: ?\[?|, *$/, "", list)
            n = split(list, numbers, /, ?/)
            for (i = 2; i <= n; i++) for (j = i; j > 1 && numbers[j] + 0 < numbers[j-1] + 0; j--) {
                swap = numbers[j]; numbers[j] = numbers[j-1]; numbers[j-1] = swap
            }
            print numbers[int((n + 1) / 2)]; exit
        }' "$1"
}
# calculate EXPRESSION: of awk; empty where a number in it is missing.
calculate() { awk "BEGIN { print ($1) }" 2>/dev/null || true; }
# bar NAME ACTUAL SIGN LIMIT UNIT: a line of the table.
bar() {
    local met=missed
    [ -n "$2" ] || { printf '%-58s %12s\n' "$1" "not measured"; return; }
    [ "$(calculate "$2 $3 $4")" = 1 ] && met=met
    printf '%-58s %12.4g %2s %-8s %-9s %s\n' "$1" "$2" "$3" "$4" "${5:-}" "$met"
}

# step NAME FLAGS…: times steps into NAME.json and says the tokens a second.
step() {
    local file=$out/step-$1.json
    "$bin/bench-step" --base_model "$large" --data_path datasets/mini_data.json --steps "$steps" --seq_len "$length" \
        --device "$device" --dtype "$dtype" --json "$file" "${@:2}"
    say_step "$1" "$file"
}
say_step() { echo "$1: $(rate "$2") tokens/s, peak memory $(median "$2" peak_device_mib) MiB"; }
rate() { [ ! -f "$1" ] || calculate "$(median "$1" tokens_per_step) / $(median "$1" seconds_per_step)"; }
# decode NAME FLAGS…: times an answer into NAME.json.
decode() {
    local file=$out/decode-$1.json
    "$bin/bench-decode" "${decode_flags[@]}" "${@:2}" > "$file"
    say_decode "$1" "$file"
}
say_decode() { echo "$1: first token after $(median "$2" first_token_s) s, then $(tokens "$2") tokens/s"; }
tokens() { [ ! -f "$1" ] || calculate "1 / $(median "$1" token_s)"; }
decode_flags=(--base_model "$large" --prompt_tokens 5 --new_tokens "$answer" --repeats 3 --device "$device" --dtype "$dtype")
# peer MODULES SCRIPT FLAGS…: runs the other side with its own libtorch; says why where it cannot.
peer() {
    if ! "$python" -c "import $1" 2>/dev/null; then
        echo "python: skipped, \`$python\` cannot import $1" >&2
        return 1
    fi
    env -u LD_LIBRARY_PATH HF_HUB_OFFLINE=1 "$python" "benches/$2" "${@:3}"
}
peer_step() {
    local file=$out/step-$1.json
    peer "$2" train_step.py --base_model "$large" --data_path datasets/mini_data.json --steps "$steps" --seq_len "$length" \
        --device "$device" --dtype "$dtype" --json "$file" "${@:3}" && say_step "$1" "$file" || rm -f "$file"
}
peer_decode() {
    local file=$out/decode-$1.json
    peer "$2" decode.py "${decode_flags[@]}" "${@:3}" > "$file" && say_decode "$1" "$file" || rm -f "$file"
}

say "machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "nvidia-smi: none"
echo "libtorch: $libtorch"

say "$preset: random weights"
if [ ! -f "$large/tokenizer.json" ]; then
    rm -rf "$large"
    "$bin/pretrain" --init_only --preset "$preset" --dtype "$dtype" --device "$device" --output_dir "$large"
    # The embedded tokenizer's ids lie within any larger vocabulary; giving it to pretrain would shrink the model's.
    for file in tokenizer.json tokenizer_config.json special_tokens_map.json; do
        cp "$base/$file" "$large/$file"
    done
fi

say "$preset: LoRA on q and v, 4 x $length tokens, attention without cuDNN and with it"
CUDNN_ATTENTION=0 step without-cudnn --batch_size 4
CUDNN_ATTENTION=1 step with-cudnn --batch_size 4

# Each kernel is compared with tensor operations when it is first used; one that fails says so on stderr.
say "kernels of quantised weights"
"$bin/bench-kernels" --device "$device" > "$out/kernels.json"
cat "$out/kernels.json"

say "$preset: training, 4 x $length tokens"
step lora --batch_size 4
step qlora --batch_size 4 --quantize nf4
step qlora-one --batch_size 1 --quantize nf4
peer_step peft "torch, transformers, peft" --batch_size 4
peer_step bitsandbytes "torch, transformers, peft, bitsandbytes" --batch_size 4 --quantize nf4

say "$preset: decoding, 5 tokens in, $answer out"
decode dense
decode nf4 --quantize nf4
decode int8 --quantize int8
peer_decode transformers "torch, transformers, peft"
peer_decode bitsandbytes "torch, transformers, peft, bitsandbytes" --quantize nf4

say "demo: exact answers before and after"
"$bin/evaluate" --base_model "$base" --data_path datasets/records/test.json --device "$device" --dtype "$dtype" --show 0
"$bin/finetune" --config datasets/demo.toml --base_model "$base" --output_dir "$out/demo" --overwrite_output_dir \
    --device "$device" --dtype "$dtype"
"$bin/evaluate" --base_model "$base" --lora_weights "$out/demo" --data_path datasets/records/test.json \
    --device "$device" --dtype "$dtype" --show 0

say "bars"
lora=$(rate "$out/step-lora.json")
bar "LoRA, 4 x $length tokens, tokens/s" "$lora" ">=" 12500
bar "QLoRA beside LoRA" "$(calculate "$(rate "$out/step-qlora.json") / $lora")" ">=" 0.9 times
bar "QLoRA, 1 x $length tokens, peak memory" "$(calculate "$(median "$out/step-qlora-one.json" peak_device_mib) * 1.048576 / 1000")" "<=" 6.0 GB
bar "decoding one row, $dtype, tokens/s" "$(tokens "$out/decode-dense.json")" ">=" 277
bar "decoding one row, NF4, tokens/s" "$(tokens "$out/decode-nf4.json")" ">=" 500
bar "dequantising NF4 beside a copy" \
    "$(calculate "$(median "$out/kernels.json" dequantize_gb_per_s) / $(median "$out/kernels.json" copy_gb_per_s)")" ">=" 0.8 times
bar "LoRA beside transformers + peft" "$(calculate "$lora / $(rate "$out/step-peft.json")")" ">=" 1.0 times
bar "QLoRA beside peft + bitsandbytes" \
    "$(calculate "$(rate "$out/step-qlora.json") / $(rate "$out/step-bitsandbytes.json")")" ">=" 1.0 times
bar "decoding beside transformers" \
    "$(calculate "$(tokens "$out/decode-dense.json") / $(tokens "$out/decode-transformers.json")")" ">=" 1.0 times
bar "decoding NF4 beside bitsandbytes" \
    "$(calculate "$(tokens "$out/decode-nf4.json") / $(tokens "$out/decode-bitsandbytes.json")")" ">=" 1.0 times
if [ "${KEEP:-0}" != 1 ]; then
    rm -rf "$large"
fi
