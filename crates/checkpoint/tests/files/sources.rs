//! Meta's and llama.cpp's files of the models of `goldens/make_sources.py`, and damaged ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, Format, Gguf, Meta, ModelFiles};
use llama_model::{Llama, LlamaConfig, RopeScaling};
use nn_core::{LinearSource, UnknownSettings};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use weights::{GgufFile, TensorStore, pt_metadata, write_safetensors};

use crate::common::{family, goldens, load, logits, matrix, max_difference};

/// Difference of logits up to about 10 in size: a few hundred roundings of float32 in another order.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<i64>,
    logits: Vec<Vec<f32>>,
}

fn golden(name: &str) -> Golden {
    serde_json::from_str(&fs::read_to_string(goldens().join(name)).unwrap()).unwrap()
}

/// Loads an opened model in float32.
fn model(files: &dyn ModelFiles) -> Result<Llama, CheckpointError> {
    Ok(Llama::load(files.config(), &files.source(Device::Cpu, Some(Kind::Float))?)?)
}

fn meta_model(dir: &Path) -> Result<Llama, CheckpointError> {
    model(&*Meta.open(dir, UnknownSettings::Refuse)?)
}

fn assert_equals_golden(model: &Llama, golden: &Golden, name: &str) {
    let difference = max_difference(&logits(model, &golden.input_ids), &matrix(&golden.logits));
    assert!(difference < TOLERANCE, "{name}: {difference}");
}

/// An error and its causes, in one line.
fn text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The directory of `goldens/meta`, with each shard's tensors through `change`. What a file holds, its content tells,
/// so shards may be written as safetensors.
fn changed_meta(change: impl Fn(usize, &mut BTreeMap<String, Tensor>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for shard in 0..2 {
        let name = format!("consolidated.{shard:02}.pth");
        let store = TensorStore::open_file(&goldens().join("meta").join(&name)).unwrap();
        let mut tensors: BTreeMap<String, Tensor> =
            store.names().map(|name| (name.to_owned(), store.tensor(name).unwrap())).collect();
        change(shard, &mut tensors);
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write_safetensors(&dir.path().join(name), &tensors, &pt_metadata()).unwrap();
    }
    fs::copy(goldens().join("meta/params.json"), dir.path().join("params.json")).unwrap();
    dir
}

#[test]
fn shards_of_metas_make_the_model_that_transformers_has() {
    let model = meta_model(&goldens().join("meta")).unwrap();
    let config = model.config();
    assert_eq!((config.vocab_size, config.intermediate_size, config.num_key_value_heads), (48, 48, 2));
    assert!(matches!(config.rope_scaling, Some(RopeScaling::Llama3 { .. })));
    assert_eq!(config.torch_dtype.as_deref(), Some("bfloat16"));
    assert_equals_golden(&model, &golden("meta/golden.json"), "meta");
}

#[test]
fn an_embedding_cut_along_the_vocabulary_is_the_same() {
    let whole = |name: &str| {
        let parts = [0, 1].map(|shard| {
            let path = goldens().join(format!("meta/consolidated.{shard:02}.pth"));
            TensorStore::open_file(&path).unwrap().tensor(name).unwrap()
        });
        Tensor::cat(&parts, 1)
    };
    let embedding = whole("tok_embeddings.weight");
    let dir = changed_meta(|shard, tensors| {
        tensors.insert("tok_embeddings.weight".to_owned(), embedding.narrow(0, 24 * shard as i64, 24));
    });
    assert_equals_golden(&meta_model(dir.path()).unwrap(), &golden("meta/golden.json"), "along dim 0");
}

#[test]
fn a_checkpoint_without_a_head_has_it_tied() {
    let dir = changed_meta(|_, tensors| {
        tensors.remove("output.weight");
    });
    assert!(meta_model(dir.path()).unwrap().config().tie_word_embeddings);
}

#[test]
fn missing_and_misshapen_parts_of_metas_files_are_named() {
    let refusal = |dir: &Path| text(&meta_model(dir).unwrap_err());
    let whole = || changed_meta(|_, _| {});
    let dir = whole();
    fs::remove_file(dir.path().join("params.json")).unwrap();
    assert!(refusal(dir.path()).contains("params.json"));
    let dir = whole();
    fs::remove_file(dir.path().join("consolidated.00.pth")).unwrap();
    let said = refusal(dir.path());
    assert!(said.contains("consolidated.00.pth` is missing") && said.contains("hold 2"), "{said}");
    let dir = whole();
    fs::remove_file(dir.path().join("consolidated.01.pth")).unwrap();
    let said = refusal(dir.path());
    assert!(said.contains("vocab_size") || said.contains("has shape"), "{said}");
    for (json, expected) in [
        ("{}", "missing field `dim`"),
        (r#"{"dim": 32, "n_layers": 2, "n_heads": 0}"#, "`num_attention_heads` is 0"),
        (r#"{"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 3}"#, "`num_key_value_heads` is 3"),
        (r#"{"dim": 64, "n_layers": 2, "n_heads": 4}"#, "has shape"),
        (r#"{"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2}"#, "layers.2.attention_norm.weight"),
    ] {
        let dir = whole();
        fs::write(dir.path().join("params.json"), json).unwrap();
        let said = refusal(dir.path());
        assert!(said.contains(expected), "{said}; expected {expected}");
    }
    let dir = changed_meta(|shard, tensors| {
        if shard == 1 {
            tensors.remove("layers.1.feed_forward.w2.weight");
        }
    });
    let said = refusal(dir.path());
    assert!(said.contains("consolidated.01.pth") && said.contains("layers.1.feed_forward.w2"), "{said}");
}

#[test]
fn gguf_files_make_the_models_that_transformers_has() {
    for name in ["llama3", "tied_linear", "biased", "qwen2", "qwen3"] {
        let checkpoint =
            Gguf.open(&goldens().join(format!("gguf/{name}.gguf")), UnknownSettings::Refuse).unwrap();
        let model = model(&*checkpoint).unwrap();
        let expected = LlamaConfig::from_dir(&family(name)).unwrap();
        // The others have no tokenizer.
        let (bos, eos) = if name == "tied_linear" { (Some(1), expected.eos_token_id) } else { (None, None) };
        let expected = LlamaConfig {
            bos_token_id: bos,
            eos_token_id: eos,
            torch_dtype: Some("float32".to_owned()),
            ..expected
        };
        assert_eq!(checkpoint.config(), &expected, "{name}");
        assert_equals_golden(&model, &golden(&format!("gguf/{name}.json")), name);
    }
}

/// `gguf/llama3.gguf` with one text replaced by another of the same length.
fn edited(from: &[u8], to: &[u8]) -> (tempfile::TempDir, PathBuf) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(goldens().join("gguf/llama3.gguf")).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

#[test]
fn a_gguf_file_of_another_architecture_is_rejected_with_the_field() {
    for (from, to, expected) in [
        ("\x05\0\0\0\0\0\0\0llama", "\x05\0\0\0\0\0\0\0gemma", "`general.architecture` is gemma"),
        ("llama.block_count", "llama.block_kount", "`llama.block_count` is missing"),
        ("llama.attention.head_count_kv", "llama.attention.head_kount_kv", "has shape"),
        ("token_embd.weight", "token_embq.weight", "no tensor `token_embd.weight`"),
        ("blk.1.ffn_up.weight", "blk.1.ffn_uq.weight", "no tensor `blk.1.ffn_up.weight`"),
        ("original_context_length", "original_kontext_length", "`rope_freqs.weight` is of largest factor 8"),
    ] {
        let (_dir, path) = edited(from.as_bytes(), to.as_bytes());
        let said =
            text(&Gguf.open(&path, UnknownSettings::Refuse).and_then(|files| model(&*files)).unwrap_err());
        assert!(said.contains(expected), "{said}; expected {expected}");
        assert!(said.contains("model.gguf") || expected == "has shape", "{said}");
    }
}

/// The trained model in both layouts, where the shared data are.
#[test]
fn metas_and_hugging_faces_weights_of_one_model_are_equal() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models");
    let (hf, meta) = (shared.join("stories260K-hf"), shared.join("stories260K-meta"));
    if !hf.is_dir() || !meta.is_dir() {
        eprintln!("skipped: ../shared/data/models is absent");
        return;
    }
    let checkpoint = Meta.open(&meta, UnknownSettings::Refuse).unwrap();
    let source = checkpoint.source(Device::Cpu, None).unwrap();
    let store = TensorStore::open(&hf).unwrap();
    let config = LlamaConfig::from_dir(&hf).unwrap();
    for (name, shape) in config.tensor_shapes() {
        assert!(source.tensor(&name, &shape).unwrap().equal(&store.tensor(&name).unwrap()), "{name}");
    }
    // What needs no other order is not copied.
    let twice = ["model.layers.0.self_attn.o_proj.weight"; 2]
        .map(|name| source.tensor(name, &[config.hidden_size, config.hidden_size]).unwrap().data_ptr());
    assert_eq!(twice[0], twice[1]);
    let ids = [1, 403, 407, 261, 378, 283, 366, 5, 17, 99];
    let [from_hf, from_meta] = [load(&hf, Kind::Float), meta_model(&meta).unwrap()].map(|m| logits(&m, &ids));
    assert!(from_hf.equal(&from_meta));
}

#[test]
fn a_gguf_tensor_of_plain_numbers_is_not_copied() {
    let path = goldens().join("gguf/biased.gguf");
    let (checkpoint, file) =
        (Gguf.open(&path, UnknownSettings::Refuse).unwrap(), GgufFile::open(&path).unwrap());
    let source = checkpoint.source(Device::Cpu, Some(Kind::Float)).unwrap();
    let twice = [(); 2].map(|()| source.tensor("model.norm.weight", &[32]).unwrap());
    assert_eq!(twice[0].data_ptr(), twice[1].data_ptr());
    assert!(twice[0].equal(&file.tensor("output_norm.weight", None).unwrap()));
}
