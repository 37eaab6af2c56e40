//! The settings that an adapter was trained with: they lie beside it and are read here.

use std::path::{Path, PathBuf};

use alpaca_data::PromptTemplate;
use qlora_nf4::Quantization;
use serde::Deserialize;
use weights::read_text;

use crate::error::io;
use crate::output_dir::RUN_FILE;
use crate::{FinetuneError, QuantizationChoice};

/// Template of an adapter of which nothing is known.
const DEFAULT_TEMPLATE: &str = "alpaca";
/// Bytes of the files beside an adapter.
const MAX_BYTES: u64 = 16 << 20;

/// Settings that an adapter was trained with, as far as the files beside it tell: the base and its revision by PEFT's
/// `adapter_config.json`, the prompt template and the quantisation of the base by the `run.toml` of its run, which adapters
/// made elsewhere lack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainedWith {
    dir: PathBuf,
    /// The base model, as that run named it.
    pub base_model: Option<String>,
    /// Branch, tag or commit of a base of the hub.
    pub revision: Option<String>,
    /// Name or file of the prompt template.
    pub prompt_template: Option<String>,
    /// Quantisation of the base's linear layers.
    pub quantization: Option<QuantizationChoice>,
}

/// The fields of `adapter_config.json` that name the base.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AdapterFile {
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
}

/// The fields of `run.toml` that an answer depends on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunFile {
    prompt_template_name: Option<String>,
    quantize: Option<QuantizationChoice>,
    double_quant: bool,
}

impl TrainedWith {
    /// Reads the files beside the adapter in `dir`, or for a checkpoint of a run those of the run. What is not there is not
    /// known; an `adapter_config.json` that cannot be read is for whoever loads the adapter to tell.
    ///
    /// # Errors
    /// [`FinetuneError::RunFile`] for a `run.toml` that is none.
    pub fn read(dir: &Path) -> Result<Self, FinetuneError> {
        let text = read_text(&dir.join("adapter_config.json"), MAX_BYTES).unwrap_or_default();
        let adapter: AdapterFile = serde_json::from_str(&text).unwrap_or_default();
        let is_named = |name: &String| !name.trim().is_empty();
        let mut found = Self {
            dir: dir.to_owned(),
            base_model: adapter.base_model_name_or_path.filter(is_named),
            revision: adapter.revision.filter(is_named),
            ..Self::default()
        };
        if let Some(path) = run_file(dir) {
            let text = read_text(&path, MAX_BYTES).map_err(io("read", &path))?;
            let run: RunFile = toml::from_str(&text)
                .map_err(|source| FinetuneError::RunFile { path, source: Box::new(source) })?;
            found.prompt_template = run.prompt_template_name.filter(is_named);
            found.quantization = run
                .quantize
                .map(|choice| choice.with_double_quant(run.double_quant).map(QuantizationChoice::from))
                .transpose()?;
        }
        Ok(found)
    }

    /// Reads the files beside an adapter where there is one.
    ///
    /// # Errors
    /// As [`TrainedWith::read`].
    pub fn of(adapter: Option<&Path>) -> Result<Self, FinetuneError> {
        adapter.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Returns the prompt template to ask with: the one that is asked for, else the adapter's, else `alpaca`. Warns where
    /// the first two differ.
    ///
    /// # Errors
    /// [`FinetuneError::Data`] when the one that is asked for cannot be loaded, [`FinetuneError::TrainedTemplate`] when the
    /// adapter's cannot.
    pub fn template(&self, asked: Option<&str>) -> Result<PromptTemplate, FinetuneError> {
        let dir = self.dir.display();
        let Some(trained) = self.prompt_template.as_deref() else {
            return Ok(PromptTemplate::load(asked.unwrap_or(DEFAULT_TEMPLATE))?);
        };
        let of_adapter = PromptTemplate::load(trained);
        let Some(asked) = asked else {
            if trained != DEFAULT_TEMPLATE {
                tracing::info!(
                    "adapter `{dir}` was trained with the prompt template `{trained}`, which is used"
                );
            }
            return of_adapter.map_err(|source| FinetuneError::TrainedTemplate {
                dir: self.dir.clone(),
                template: trained.to_owned(),
                source: Box::new(source),
            });
        };
        let template = PromptTemplate::load(asked)?;
        let same = of_adapter.map_or(asked == trained, |of_adapter| of_adapter == template);
        if !same {
            tracing::warn!(
                "adapter `{dir}` was trained with the prompt template `{trained}`, and is asked with `{asked}`"
            );
        }
        Ok(template)
    }

    /// Returns the quantisation to load a base with, one that is `stored` in that way or not: what is asked for, else the
    /// adapter's. Warns where the adapter was trained over another. A base that is quantised on disk stays as it is.
    ///
    /// # Errors
    /// [`FinetuneError::Quantization`] when double quantisation is asked for and the scheme has no blocks.
    pub fn quantization(
        &self,
        asked: AskedQuantization,
        stored: Option<Quantization>,
    ) -> Result<Option<Quantization>, FinetuneError> {
        let trained = self.quantization.unwrap_or_default();
        let is_asked = asked.scheme.is_some() || asked.double_quant.is_some();
        let used = match (asked.scheme, asked.double_quant) {
            (Some(scheme), double_quant) => scheme.with_double_quant(double_quant.unwrap_or_default())?,
            (None, Some(double_quant)) => trained.with_double_quant(double_quant)?,
            (None, None) if stored.is_some() => None,
            (None, None) => trained.get(),
        };
        let described = |quantization: Option<Quantization>| {
            quantization.map_or_else(
                || "a base that is not quantised".to_owned(),
                |q| format!("a base in {}", q.describe()),
            )
        };
        let (seen, dir) = (used.or(stored), self.dir.display());
        if self
            .quantization
            .is_some_and(|trained| trained.get() != seen && !(trained.is_none() && stored.is_some()))
        {
            let (trained, seen) = (described(trained.get()), described(seen));
            tracing::warn!("adapter `{dir}` was trained over {trained}, and is used over {seen}");
        } else if !is_asked && used.is_some() {
            tracing::info!("adapter `{dir}` was trained over {}, which is used", described(used));
        }
        Ok(used)
    }

    /// Returns the base to load and its revision: the one that is asked for, else the adapter's. Warns where their names
    /// differ. The revision is the adapter's where the name is.
    pub fn base<'a>(&'a self, asked: Option<&'a str>) -> Option<(&'a str, Option<&'a str>)> {
        let (dir, revision) = (self.dir.display(), self.revision.as_deref());
        match (asked, self.base_model.as_deref()) {
            (None, None) => None,
            (None, Some(trained)) => {
                tracing::info!("adapter `{dir}` was trained over `{trained}`, which is the base");
                Some((trained, revision))
            }
            (Some(asked), Some(trained)) if is_same_base(asked, trained) => {
                Some((asked, revision.filter(|_| asked.trim() == trained.trim())))
            }
            (Some(asked), Some(trained)) => {
                tracing::warn!("adapter `{dir}` was trained over `{trained}`, and is used over `{asked}`");
                Some((asked, None))
            }
            (Some(asked), None) => Some((asked, None)),
        }
    }
}

/// Quantisation of the base as flags ask for it; `None` where no flag does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AskedQuantization {
    /// The scheme, or none.
    pub scheme: Option<QuantizationChoice>,
    /// Double quantisation.
    pub double_quant: Option<bool>,
}

/// What is used is asked for, of all that use it too.
impl From<Option<Quantization>> for AskedQuantization {
    fn from(used: Option<Quantization>) -> Self {
        Self { scheme: Some(used.into()), double_quant: used.map(Quantization::double_quant) }
    }
}

/// Finds the `run.toml` of the run that saved the adapter in `dir`: beside it, or above a checkpoint.
fn run_file(dir: &Path) -> Option<PathBuf> {
    let is_checkpoint = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-"));
    let above = dir.parent().filter(|_| is_checkpoint).map(|above| above.join(RUN_FILE));
    [Some(dir.join(RUN_FILE)), above].into_iter().flatten().find(|path| path.is_file())
}

/// Compares two names of a base: the same path, or the same last part, since models move between machines.
fn is_same_base(asked: &str, trained: &str) -> bool {
    // A snapshot in the hub's cache is called after a commit; its repository is two folders above.
    let last = |name: &str| {
        let name = name.trim().replace('\\', "/");
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let repo = parts.iter().rev().find_map(|part| part.strip_prefix("models--"));
        repo.and_then(|repo| repo.rsplit("--").next())
            .or(parts.last().copied())
            .unwrap_or_default()
            .to_lowercase()
    };
    let real = |name: &str| std::fs::canonicalize(name.trim()).ok();
    last(asked) == last(trained) || real(asked).is_some_and(|path| real(trained) == Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an adapter's directory with these two files.
    fn adapter(config: &str, run: Option<&str>) -> (tempfile::TempDir, TrainedWith) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), config).unwrap();
        if let Some(run) = run {
            std::fs::write(dir.path().join(RUN_FILE), run).unwrap();
        }
        let found = TrainedWith::read(dir.path()).unwrap();
        (dir, found)
    }

    const CONFIG: &str = r#"{"base_model_name_or_path": "org/tiny", "revision": "v1", "r": 4}"#;
    const RUN: &str =
        "prompt_template_name = 'alpaca_short'\nquantize = 'nf4'\ndouble_quant = true\nlora_r = 4\n";

    fn nf4(double_quant: bool) -> Option<Quantization> {
        Quantization::from_flags("nf4", double_quant).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_is_the_adapters() {
        let (_dir, with) = adapter(CONFIG, Some(RUN));
        assert_eq!(with.template(None).unwrap(), PromptTemplate::load("alpaca_short").unwrap());
        assert_eq!(with.template(Some("vigogne")).unwrap(), PromptTemplate::load("vigogne").unwrap());
        assert_eq!(with.base(None), Some(("org/tiny", Some("v1"))));
        assert_eq!(with.base(Some("org/tiny")), Some(("org/tiny", Some("v1"))));
        assert_eq!(with.base(Some("models/tiny")), Some(("models/tiny", None)));
        let none: QuantizationChoice = "none".parse().unwrap();
        for (scheme, double_quant, stored, expected) in [
            (None, None, None, nf4(true)),
            (None, Some(false), None, nf4(false)),
            (Some(none), None, None, None),
            (Some(QuantizationChoice::nf4()), None, None, nf4(false)),
            (None, None, nf4(true), None),
        ] {
            let asked = AskedQuantization { scheme, double_quant };
            assert_eq!(with.quantization(asked, stored).unwrap(), expected, "{asked:?} {stored:?}");
        }
    }

    #[test]
    fn an_adapter_made_elsewhere_tells_its_base_alone() {
        let (_dir, with) = adapter(CONFIG, None);
        assert_eq!(with.base_model.as_deref(), Some("org/tiny"));
        assert_eq!((with.prompt_template.as_deref(), with.quantization), (None, None));
        assert_eq!(with.template(None).unwrap(), PromptTemplate::load("alpaca").unwrap());
        assert_eq!(with.quantization(AskedQuantization::default(), None).unwrap(), None);
        let (_dir, silent) = adapter("{}", None);
        assert_eq!((silent.base(None), silent.base(Some("a"))), (None, Some(("a", None))));
    }

    #[test]
    fn a_checkpoint_has_the_settings_of_its_run() {
        let (dir, _) = adapter(CONFIG, Some(RUN));
        let checkpoint = dir.path().join("checkpoint-2");
        std::fs::create_dir(&checkpoint).unwrap();
        assert_eq!(TrainedWith::read(&checkpoint).unwrap().prompt_template.as_deref(), Some("alpaca_short"));
        let other = dir.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert_eq!(TrainedWith::read(&other).unwrap().prompt_template, None);
    }

    #[test]
    fn a_template_that_is_gone_and_a_run_file_that_is_none_are_refused() {
        let (dir, with) = adapter(CONFIG, Some("prompt_template_name = './gone.json'"));
        assert!(with.template(None).unwrap_err().to_string().contains("./gone.json"));
        std::fs::write(dir.path().join(RUN_FILE), "quantize = 'int5'").unwrap();
        assert!(TrainedWith::read(dir.path()).unwrap_err().to_string().contains(RUN_FILE));
    }

    #[test]
    fn a_base_that_moved_is_the_same_by_its_name() {
        for (asked, trained, same) in [
            ("/mnt/model/llama-7b-hf0527", "./llama-7b-hf0527/", true),
            ("org/tiny", "/cache/hub/models--org--tiny/snapshots/0123", true),
            ("org/tiny", "org/large", false),
        ] {
            assert_eq!(is_same_base(asked, trained), same, "{asked} {trained}");
        }
    }
}
