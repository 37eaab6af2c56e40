//! The layers that a configuration names.

use nn_core::ModulePath;
use regex::Regex;

use crate::config::{LoraConfig, TargetModules};
use crate::error::LoraError;
use crate::layer::tensor_name;
use crate::variant::{LayerShape, Variant};

/// A linear layer that an adapter may be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearShape {
    /// Its name in the checkpoint, without `.weight`.
    pub path: ModulePath,
    /// Input width.
    pub in_features: i64,
    /// Output width.
    pub out_features: i64,
}

/// PEFT's word for every linear layer except the head.
const ALL_LINEAR: &str = "all-linear";

/// A compiled set of names or a pattern (`peft/tuners/tuners_utils.py`, `check_target_module_exists`).
enum Matcher {
    Names(Vec<String>),
    All,
    Pattern(Box<Regex>),
}

fn regex(field: &'static str, pattern: &str) -> Result<Regex, LoraError> {
    // Python's `fullmatch`.
    Regex::new(&format!("^(?:{pattern})$")).map_err(|source| LoraError::Pattern {
        field,
        pattern: pattern.to_owned(),
        source: Box::new(source),
    })
}

fn names(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Matcher {
    fn new(field: &'static str, targets: &TargetModules) -> Result<Self, LoraError> {
        Ok(match targets {
            TargetModules::Names(names) => Self::Names(names.clone()),
            TargetModules::Pattern(pattern) if pattern == ALL_LINEAR => Self::All,
            TargetModules::Pattern(pattern) => Self::Pattern(Box::new(regex(field, pattern)?)),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Names(targets) => targets.iter().any(|name| names(path, name)),
            Self::All => true,
            Self::Pattern(pattern) => pattern.is_match(path),
        }
    }

    /// A target that matches none of `paths`.
    fn unmatched(&self, paths: &[&ModulePath]) -> Option<String> {
        match self {
            Self::Names(targets) => {
                targets.iter().find(|name| !paths.iter().any(|path| names(path.as_str(), name))).cloned()
            }
            Self::All => None,
            Self::Pattern(pattern) => {
                let hit = paths.iter().any(|path| pattern.is_match(path.as_str()));
                (!hit).then(|| pattern.as_str().trim_start_matches("^(?:").trim_end_matches(")$").to_owned())
            }
        }
    }
}

/// One layer that is adapted.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) path: ModulePath,
    pub(crate) variant: &'static dyn Variant,
    pub(crate) shape: LayerShape,
    pub(crate) scale: f64,
}

impl Target {
    /// Names in PEFT's file and shapes of the layer's tensors.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, Vec<i64>)> {
        let specs = self.variant.tensors().iter();
        specs.map(|spec| (tensor_name(&self.path, spec.suffix), (spec.shape)(self.shape)))
    }
}

/// Lists the adapted layers among `linears`, in their order.
pub(crate) fn resolve(config: &LoraConfig, linears: &[LinearShape]) -> Result<Vec<Target>, LoraError> {
    let variant = config.variant.get()?;
    let paths: Vec<&ModulePath> = linears.iter().map(|linear| &linear.path).collect();
    let llama_default = || TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
    let targets = config.target_modules.clone().unwrap_or_else(llama_default);
    let targets = Matcher::new("target_modules", &targets)?;
    let excluded = config.exclude_modules.as_ref().map(|m| Matcher::new("exclude_modules", m)).transpose()?;
    let mut leaves: Vec<&str> = paths.iter().map(|path| path.leaf()).collect();
    leaves.sort_unstable();
    leaves.dedup();
    let unknown = |target: String| LoraError::UnknownTarget { target, known: leaves.join(", ") };
    if let Some(target) = targets.unmatched(&paths) {
        return Err(unknown(target));
    }
    let ranks = patterns("rank_pattern", &config.rank_pattern)?;
    let alphas = patterns("alpha_pattern", &config.alpha_pattern)?;
    let wanted = |linear: &&LinearShape| {
        let path = linear.path.as_str();
        let in_layer = config
            .layers_to_transform
            .as_ref()
            .is_none_or(|layers| layer_index(path).is_some_and(|index| layers.contains(&index)));
        in_layer && targets.matches(path) && !excluded.as_ref().is_some_and(|m| m.matches(path))
    };
    let found: Vec<Target> = linears
        .iter()
        .filter(wanted)
        .map(|LinearShape { path, in_features, out_features }| {
            let r = lookup(&ranks, path).unwrap_or(config.r);
            let alpha = lookup(&alphas, path).unwrap_or(config.lora_alpha);
            let shape = LayerShape { r, in_features: *in_features, out_features: *out_features };
            Target { path: path.clone(), variant, shape, scale: config.scale(alpha, r) }
        })
        .collect();
    if found.is_empty() {
        return Err(unknown("(nothing after exclude_modules and layers_to_transform)".to_owned()));
    }
    Ok(found)
}

/// PEFT matches a pattern key against the end of the path (`peft/utils/other.py`, `get_pattern_key`).
fn patterns<'a, V: Copy + 'a>(
    field: &'static str,
    map: impl IntoIterator<Item = (&'a String, &'a V)>,
) -> Result<Vec<(Regex, V)>, LoraError> {
    map.into_iter()
        .map(|(pattern, &value)| Ok((regex(field, &format!(r"(?:.*\.)?(?:{pattern})"))?, value)))
        .collect()
}

impl LoraConfig {
    /// Counts the numbers that train where the linear layers of a model are `linears`.
    ///
    /// # Errors
    /// [`LoraError`] when a target matches nothing.
    pub fn num_parameters(&self, linears: &[LinearShape]) -> Result<i64, LoraError> {
        let targets = resolve(self, linears)?;
        let shapes = targets.iter().flat_map(Target::tensors).map(|(_, shape)| shape);
        Ok(shapes.map(|shape| shape.iter().product::<i64>()).sum())
    }
}

fn lookup<V: Copy>(patterns: &[(Regex, V)], path: &ModulePath) -> Option<V> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(path.as_str())).map(|&(_, value)| value)
}

fn layer_index(path: &str) -> Option<usize> {
    path.split("layers.").nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linears() -> Vec<LinearShape> {
        ["q_proj", "v_proj"]
            .iter()
            .flat_map(|leaf| {
                (0..2).map(move |i| LinearShape {
                    path: ModulePath::new(format!("model.layers.{i}.self_attn.{leaf}")),
                    in_features: 8,
                    out_features: 6,
                })
            })
            .collect()
    }

    fn found(config: &LoraConfig) -> Vec<String> {
        resolve(config, &linears())
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
        assert!(resolve(&names("proj"), &linears()).is_err());
    }

    #[test]
    fn a_pattern_matches_the_whole_path() {
        let pattern = |text: &str| with(TargetModules::Pattern(text.to_owned()));
        assert_eq!(found(&pattern(r".*\.0\..*(q|v)_proj")), ["0.self_attn.q_proj", "0.self_attn.v_proj"]);
        assert_eq!(found(&pattern("all-linear")).len(), 4);
        let error = resolve(&pattern("q_proj"), &linears()).unwrap_err().to_string();
        assert!(error.contains("`q_proj`") && error.contains("q_proj, v_proj"), "{error}");
        assert!(matches!(resolve(&pattern("("), &linears()), Err(LoraError::Pattern { .. })));
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
        let targets = resolve(&config, &linears()).unwrap();
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
}
