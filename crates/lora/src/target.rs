//! The layers that a configuration names.

use nn_core::ModulePath;

use crate::config::{ALL_LINEAR, LoraConfig, TargetModules};
use crate::error::LoraError;
use crate::key::tensor_name;
use crate::module::{ModelShape, ModuleKind, ModuleShape};
use crate::pattern::{Pattern, first_match};
use crate::variant::{LayerShape, Variant};
use crate::variants::{EMBEDDING, LORA_BIAS};

/// The head, which PEFT asks the model for.
pub(crate) const HEAD: &str = "lm_head";

/// Stance on a name that the model has no layer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// It is an error: a new adapter would lack what was asked for.
    Refuse,
    /// It is passed over with a note, as PEFT does, as long as another matches.
    Note,
}

/// A compiled set of names or a pattern (`peft/tuners/tuners_utils.py`, `check_target_module_exists`).
enum Matcher {
    Names(Vec<String>),
    All,
    Pattern(Box<Pattern>),
}

/// Checks whether `path` is `name`, or ends in it behind a dot.
pub(crate) fn names(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Matcher {
    fn new(field: &'static str, targets: &TargetModules) -> Result<Self, LoraError> {
        Ok(match targets {
            TargetModules::Names(names) => Self::Names(names.clone()),
            TargetModules::Pattern(pattern) if pattern.eq_ignore_ascii_case(ALL_LINEAR) => Self::All,
            TargetModules::Pattern(pattern) => Self::Pattern(Box::new(Pattern::new(field, pattern)?)),
        })
    }

    fn matches(&self, module: &ModuleShape) -> Result<bool, LoraError> {
        let path = module.path.as_str();
        match self {
            Self::Names(targets) => Ok(targets.iter().any(|name| names(path, name))),
            Self::All => Ok(module.kind == ModuleKind::Linear && !names(path, HEAD)),
            Self::Pattern(pattern) => pattern.matches(path),
        }
    }

    /// Returns the targets that match none of `modules`.
    fn unmatched(&self, modules: &[&ModuleShape]) -> Result<Vec<String>, LoraError> {
        Ok(match self {
            Self::Names(targets) => {
                let is_there = |name: &&String| modules.iter().any(|it| names(it.path.as_str(), name));
                targets.iter().filter(|name| !is_there(name)).cloned().collect()
            }
            Self::All => Vec::new(),
            Self::Pattern(pattern) => {
                for module in modules {
                    if pattern.matches(module.path.as_str())? {
                        return Ok(Vec::new());
                    }
                }
                vec![pattern.text().to_owned()]
            }
        })
    }
}

/// One layer that is adapted.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) path: ModulePath,
    pub(crate) kind: ModuleKind,
    pub(crate) variant: &'static dyn Variant,
    pub(crate) shape: LayerShape,
    pub(crate) scale: f64,
}

impl Target {
    /// Lists names in PEFT's file and shapes there of the layer's tensors.
    pub(crate) fn file_tensors(&self) -> impl Iterator<Item = (String, Vec<i64>)> {
        let specs = self.variant.tensors().iter();
        specs
            .map(|spec| (tensor_name(&format!("{}.{}", self.path, spec.suffix)), spec.file_shape(self.shape)))
    }
}

/// Checks whether `modules_to_save` means the module at `path`, which is then no target (`peft/utils/other.py`,
/// `_set_trainable`: the end of a path, without a dot before it).
pub(crate) fn is_saved(config: &LoraConfig, path: &str) -> bool {
    config.modules_to_save.iter().flatten().any(|name| path.ends_with(name.as_str()))
}

/// Lists the adapted layers among the modules of `model`, in their order.
pub(crate) fn resolve(
    config: &LoraConfig,
    model: &ModelShape,
    stance: Unmatched,
) -> Result<Vec<Target>, LoraError> {
    let modules: Vec<&ModuleShape> =
        model.modules.iter().filter(|module| module.kind != ModuleKind::Norm).collect();
    let llama_default = || TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
    let targets = config.target_modules.clone().unwrap_or_else(llama_default);
    let asks_for_none = matches!(&targets, TargetModules::Names(names) if names.is_empty());
    let targets = Matcher::new("target_modules", &targets)?;
    let excluded = config.exclude_modules.as_ref().map(|m| Matcher::new("exclude_modules", m)).transpose()?;
    let mut leaves: Vec<&str> = modules.iter().map(|module| module.path.leaf()).collect();
    leaves.sort_unstable();
    leaves.dedup();
    let unknown = |target: String| LoraError::UnknownTarget { target, known: leaves.join(", ") };
    let unmatched = targets.unmatched(&modules)?;
    let ranks = config.rank_pattern.compile("rank_pattern")?;
    let alphas = config.alpha_pattern.compile("alpha_pattern")?;
    let layers = TransformedLayers::new(config)?;
    let mut found = Vec::new();
    for module in &modules {
        let ModuleShape { path, kind, rows, columns } = *module;
        let is_excluded = excluded.as_ref().map_or(Ok(false), |excluded| excluded.matches(module))?;
        if is_excluded
            || is_saved(config, path.as_str())
            || !targets.matches(module)?
            || !layers.contain(path.as_str())?
        {
            continue;
        }
        let variant = variant(config, module)?;
        let r = first_match(&ranks, path.as_str())?.unwrap_or(config.r);
        let alpha = first_match(&alphas, path.as_str())?.unwrap_or(config.lora_alpha);
        let shape = LayerShape { r, in_features: *columns, out_features: *rows };
        let scale = config.scale(alpha, r);
        found.push(Target { path: path.clone(), kind: *kind, variant, shape, scale });
    }
    if let Some(target) = unmatched.first().filter(|_| stance == Unmatched::Refuse || found.is_empty()) {
        return Err(unknown(target.clone()));
    }
    if found.is_empty() && !(asks_for_none && config.modules_to_save.is_some()) {
        return Err(unknown("(nothing after exclude_modules and layers_to_transform)".to_owned()));
    }
    if !unmatched.is_empty() {
        tracing::info!(
            "target modules that the model has none of are passed over, as peft does: {}",
            unmatched.join(", ")
        );
    }
    Ok(found)
}

/// Returns the formula of a module's adapter.
fn variant(config: &LoraConfig, module: &ModuleShape) -> Result<&'static dyn Variant, LoraError> {
    let variant = config.variant.get()?;
    match module.kind {
        ModuleKind::Embedding if config.lora_bias || variant.config_field().is_some() => {
            let name = variant.config_field().unwrap_or("lora_bias");
            Err(LoraError::OfEmbedding { name, path: module.path.to_string() })
        }
        ModuleKind::Embedding => Ok(EMBEDDING),
        _ if config.lora_bias => Ok(LORA_BIAS),
        _ => Ok(variant),
    }
}

/// The decoder layers that are adapted.
struct TransformedLayers<'a> {
    indices: &'a [usize],
    patterns: Vec<Pattern>,
}

impl<'a> TransformedLayers<'a> {
    fn new(config: &'a LoraConfig) -> Result<Self, LoraError> {
        let indices = config.layers_to_transform.as_deref().unwrap_or_default();
        let names = config.layers_pattern.as_deref().unwrap_or_default();
        let any = ["[^.]*".to_owned()];
        let names = if names.is_empty() { &any[..] } else { names };
        let patterns = names.iter().map(|name| Pattern::of_index("layers_pattern", name));
        Ok(Self { indices, patterns: patterns.collect::<Result<_, _>>()? })
    }

    fn contain(&self, path: &str) -> Result<bool, LoraError> {
        if self.indices.is_empty() {
            return Ok(true);
        }
        for pattern in &self.patterns {
            if let Some(index) = pattern.index(path)? {
                return Ok(self.indices.contains(&index));
            }
        }
        Ok(false)
    }
}

impl LoraConfig {
    /// Counts the numbers that train where the model is of this shape.
    ///
    /// # Errors
    /// [`LoraError`] when a target matches nothing.
    pub fn num_parameters(&self, model: &ModelShape) -> Result<i64, LoraError> {
        let targets = resolve(self, model, Unmatched::Refuse)?;
        let shapes = targets.iter().flat_map(Target::file_tensors).map(|(_, shape)| shape);
        let saved = model.modules.iter().filter(|module| is_saved(self, module.path.as_str()));
        let shapes = shapes.chain(saved.map(ModuleShape::weight_shape));
        Ok(shapes.map(|shape| shape.iter().product::<i64>()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linears() -> ModelShape {
        let of = |leaf: &'static str| {
            (0..2).map(move |i| {
                ModuleShape::linear(ModulePath::new(format!("model.layers.{i}.self_attn.{leaf}")), 8, 6)
            })
        };
        ["q_proj", "v_proj"].into_iter().flat_map(of).collect::<Vec<_>>().into()
    }

    /// Returns those, an embedding, a norm and the head.
    fn whole_model() -> ModelShape {
        let mut model = linears();
        let other =
            |path: &str, kind| ModuleShape { kind, ..ModuleShape::linear(ModulePath::new(path), 8, 20) };
        model.modules.push(other("lm_head", ModuleKind::Linear));
        model.modules.push(other("model.embed_tokens", ModuleKind::Embedding));
        model.modules.push(other("model.norm", ModuleKind::Norm));
        model
    }

    fn found(config: &LoraConfig) -> Vec<String> {
        resolve(config, &linears(), Unmatched::Refuse)
            .unwrap()
            .iter()
            .map(|t| t.path.as_str().replace("model.layers.", ""))
            .collect()
    }

    fn with(targets: TargetModules) -> LoraConfig {
        LoraConfig { target_modules: Some(targets), ..LoraConfig::default() }
    }

    #[test]
    fn names_match_whole_segments_at_the_end_of_a_path() {
        let names = |name: &str| with(TargetModules::Names(vec![name.to_owned()]));
        assert_eq!(found(&names("q_proj")), ["0.self_attn.q_proj", "1.self_attn.q_proj"]);
        assert_eq!(found(&names("model.layers.1.self_attn.v_proj")), ["1.self_attn.v_proj"]);
        assert!(resolve(&names("proj"), &linears(), Unmatched::Refuse).is_err());
    }

    #[test]
    fn a_pattern_matches_the_whole_path() {
        let pattern = |text: &str| with(TargetModules::Pattern(text.to_owned()));
        assert_eq!(found(&pattern(r".*\.0\..*(q|v)_proj")), ["0.self_attn.q_proj", "0.self_attn.v_proj"]);
        assert_eq!(found(&pattern("all-linear")).len(), 4);
        let error = resolve(&pattern("q_proj"), &linears(), Unmatched::Refuse).unwrap_err().to_string();
        assert!(error.contains("`q_proj`") && error.contains("q_proj, v_proj"), "{error}");
        assert!(matches!(
            resolve(&pattern("("), &linears(), Unmatched::Refuse),
            Err(LoraError::Pattern { .. })
        ));
    }

    #[test]
    fn rank_and_alpha_patterns_override_for_their_layers_only() {
        let config = LoraConfig {
            r: 4,
            lora_alpha: 6.0,
            rank_pattern: [("0.self_attn.q_proj".to_owned(), 2)].into(),
            alpha_pattern: [("v_proj".to_owned(), 10.0)].into(),
            ..LoraConfig::default()
        };
        let targets = resolve(&config, &linears(), Unmatched::Refuse).unwrap();
        let pairs: Vec<(i64, f64)> = targets.iter().map(|t| (t.shape.r, t.scale)).collect();
        assert_eq!(pairs, [(2, 3.0), (4, 1.5), (4, 2.5), (4, 2.5)]);
    }

    #[test]
    fn layers_and_modules_can_be_left_out() {
        let config = LoraConfig {
            exclude_modules: Some(TargetModules::Names(vec!["v_proj".to_owned()])),
            layers_to_transform: Some(vec![1]),
            ..LoraConfig::default()
        };
        assert_eq!(found(&config), ["1.self_attn.q_proj"]);
    }

    #[test]
    fn head_and_embedding_are_targets_by_name_alone_and_norms_never() {
        let paths = |targets: TargetModules| -> Vec<String> {
            let found = resolve(&with(targets), &whole_model(), Unmatched::Note).unwrap();
            found.iter().map(|target| target.path.to_string()).collect()
        };
        let names = ["lm_head", "embed_tokens", "norm"].map(str::to_owned).to_vec();
        assert_eq!(paths(TargetModules::Names(names)), ["lm_head", "model.embed_tokens"]);
        assert_eq!(paths(TargetModules::Pattern("ALL-linear".to_owned())).len(), 4);
    }

    #[test]
    fn a_name_without_a_layer_is_refused_for_a_new_adapter_and_passed_over_in_a_saved_one() {
        let names =
            |names: &[&str]| with(TargetModules::Names(names.iter().map(|&name| name.to_owned()).collect()));
        let some = names(&["q_proj", "gate_up_proj"]);
        assert_eq!(resolve(&some, &linears(), Unmatched::Note).unwrap().len(), 2);
        assert!(resolve(&some, &linears(), Unmatched::Refuse).is_err());
        assert!(resolve(&names(&["gate_up_proj"]), &linears(), Unmatched::Note).is_err());
    }

    #[test]
    fn layers_are_counted_in_the_list_that_layers_pattern_names() {
        let config = |pattern: Option<&str>| LoraConfig {
            layers_to_transform: Some(vec![1]),
            layers_pattern: pattern.map(|pattern| vec![pattern.to_owned()]),
            ..LoraConfig::default()
        };
        assert_eq!(found(&config(None)), ["1.self_attn.q_proj", "1.self_attn.v_proj"]);
        assert_eq!(found(&config(Some("layers"))), found(&config(None)));
        assert!(resolve(&config(Some("h")), &linears(), Unmatched::Note).is_err());
        let none_named = LoraConfig { layers_to_transform: Some(vec![]), ..LoraConfig::default() };
        assert_eq!(found(&none_named).len(), 4);
    }

    #[test]
    fn a_saved_module_is_no_target() {
        let config = LoraConfig { modules_to_save: Some(vec!["v_proj".to_owned()]), ..LoraConfig::default() };
        assert_eq!(found(&config), ["0.self_attn.q_proj", "1.self_attn.q_proj"]);
        assert_eq!(config.num_parameters(&linears()).unwrap(), 2 * 8 * (8 + 6) + 2 * 8 * 6);
    }
}
