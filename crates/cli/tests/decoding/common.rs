//! Models to generate with.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use infer::{BoxError, GenerateConfig, Generation, SamplingConfig, TokenText, generate_streaming};
use llama_model::{Llama, LlamaConfig};
use tch::{Device, Kind};
use weights::{CheckpointSource, TensorStore};

/// The text of ids is the ids.
pub(crate) struct Numbers;

impl TokenText for Numbers {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(ids.iter().flat_map(|id| [id.to_string(), " ".to_owned()]).collect())
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn load(dir: &Path) -> Llama {
    let store = TensorStore::open(dir).unwrap();
    let source = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
    Llama::load(&LlamaConfig::from_dir(dir).unwrap(), &source).unwrap()
}

/// A two-layer model of random weights.
pub(crate) fn family(name: &str) -> Llama {
    load(&root().join("../llama-model/tests/goldens").join(name))
}

/// The directory of a trained model, if there is one.
pub(crate) fn trained(name: &str) -> Option<PathBuf> {
    let dir = root().join("../../../shared/data/models").join(name);
    if !dir.is_dir() {
        eprintln!("skipped: ../shared/data/models/{name} is absent");
        return None;
    }
    Some(dir)
}

/// The answers, and the text that was shown of each.
pub(crate) fn shown(
    model: &Llama,
    text: &dyn TokenText,
    prompts: &[Vec<i64>],
    config: &GenerateConfig,
) -> (Vec<Generation>, Vec<String>) {
    let mut shown = vec![String::new(); prompts.len()];
    let answers = generate_streaming(model, text, prompts, config, &mut |index, piece| {
        shown[index].push_str(piece);
        ControlFlow::Continue(())
    });
    (answers.unwrap(), shown)
}

/// Every way to choose tokens.
pub(crate) fn ways(seed: u64) -> Vec<SamplingConfig> {
    let greedy = SamplingConfig { seed, ..SamplingConfig::default() };
    let draws = SamplingConfig {
        do_sample: true,
        temperature: 0.9,
        top_k: 20,
        top_p: 0.95,
        repetition_penalty: 1.1,
        ..greedy.clone()
    };
    vec![
        greedy.clone(),
        SamplingConfig { repetition_penalty: 1.3, ..greedy.clone() },
        draws.clone(),
        SamplingConfig { do_sample: true, ..greedy.clone() },
        SamplingConfig { num_beams: 3, ..greedy.clone() },
        SamplingConfig { num_beams: 4, early_stopping: true, length_penalty: 0.5, ..draws },
    ]
}
