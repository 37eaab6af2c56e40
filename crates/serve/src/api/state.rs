//! State shared by all requests.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use alpaca_data::Templates;
use serde::Serialize;

use super::error::ApiError;
use crate::lock::lock;
use crate::prepare::Preparer;
use crate::request_queue::RequestQueue;
use crate::{ServeConfig, SourceText};

/// Source whose model is owned by its worker thread.
#[derive(Debug)]
pub(crate) struct RunningSource {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) adapter_off: Option<String>,
    pub(crate) queue: Arc<RequestQueue>,
    pub(crate) text: TextFunctions,
    pub(crate) templates: Templates,
    /// Reason for which its chat template is not used any more.
    pub(crate) stuck: OnceLock<String>,
    pub(crate) eos_ids: Vec<i64>,
    pub(crate) vocab_size: usize,
    /// Tokens of a prompt and its answer together.
    pub(crate) capacity: usize,
}

/// Tokenizer functions.
#[derive(Clone)]
pub(crate) struct TextFunctions(pub(crate) Arc<dyn SourceText>);

impl std::fmt::Debug for TextFunctions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TextFunctions")
    }
}

/// What is being loaded.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Loading {
    text: String,
    done: usize,
    of: usize,
}

/// Sources, once they are loaded.
#[derive(Debug)]
struct Ready {
    sources: Vec<Arc<RunningSource>>,
    rows: usize,
}

/// State shared by all request handlers.
#[derive(Debug)]
pub(crate) struct App {
    ready: OnceLock<Ready>,
    loading: Mutex<Loading>,
    pub(crate) config: ServeConfig,
    pub(crate) preparer: Arc<Preparer>,
}

impl App {
    pub(crate) fn new(config: ServeConfig, preparer: Arc<Preparer>) -> Self {
        Self { ready: OnceLock::new(), loading: Mutex::default(), config, preparer }
    }

    pub(crate) fn say(&self, text: &str, done: usize, of: usize) {
        *lock(&self.loading) = Loading { text: text.to_owned(), done, of };
    }

    pub(crate) fn ready(&self, sources: Vec<Arc<RunningSource>>, rows: usize) {
        let _ = self.ready.set(Ready { sources, rows });
    }

    /// Returns what is being loaded; none once all is.
    pub(crate) fn loading(&self) -> Option<Loading> {
        self.ready.get().is_none().then(|| lock(&self.loading).clone())
    }

    /// Returns the sources; none while they are loaded.
    pub(crate) fn sources(&self) -> &[Arc<RunningSource>] {
        self.ready.get().map_or(&[], |ready| &ready.sources)
    }

    /// Returns the sequences of a source that are decoded together.
    pub(crate) fn rows(&self) -> usize {
        self.ready.get().map_or(self.config.limits.rows, |ready| ready.rows)
    }

    /// Finds a source by name; the first when none is named.
    pub(crate) fn source(&self, name: Option<&str>) -> Result<Arc<RunningSource>, ApiError> {
        if let Some(loading) = self.loading() {
            return Err(ApiError::loading(&loading.text));
        }
        let found = match name {
            None => self.sources().first(),
            Some(name) => self.sources().iter().find(|source| source.name == name),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<String> =
                self.sources().iter().map(|source| format!("`{}`", source.name)).collect();
            let shown: String = name.unwrap_or_default().chars().take(200).collect();
            ApiError::no_model(format!("the model `{shown}` does not exist; there is {}", names.join(", ")))
        })
    }

    /// Returns the most tokens that a prompt may have.
    pub(crate) fn longest_prompt(&self, source: &RunningSource) -> usize {
        self.config.limits.prompt_tokens.min(source.capacity.saturating_sub(1))
    }
}

/// Returns the seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns a number that no other request has, for ids and for seeds nobody chose.
pub(crate) fn unique_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
