//! Versions and what a requirement allows of them (PEP 440).

use std::cmp::Ordering;

/// A version: `2.11.0`, `13.0.2`, `9.19.0.56`, `1.0rc1`, `2.11.0+cu126`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Numbers, without zeros at the end.
    release: Vec<u64>,
    /// The rest, in an order: development and pre-releases, none, post-releases.
    suffix: Vec<(Stage, u64)>,
    /// What follows `+`.
    local: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Dev,
    Alpha,
    Beta,
    Candidate,
    Final,
    Post,
}

impl Version {
    /// Reads a version; `None` for one of another form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (public, local) = match text.split_once('+') {
            Some((public, local)) => (public, Some(local.replace(['-', '_'], "."))),
            None => (text.as_str(), None),
        };
        let public = public.strip_prefix('v').unwrap_or(public);
        let end = public.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(public.len());
        let (numbers, rest) = public.split_at(end);
        let mut release =
            numbers.trim_end_matches('.').split('.').map(|n| n.parse().ok()).collect::<Option<Vec<u64>>>()?;
        while release.len() > 1 && release.last() == Some(&0) {
            release.pop();
        }
        Some(Self { release, suffix: suffix(rest)?, local })
    }

    /// Returns what follows `+`.
    pub(crate) fn local(&self) -> Option<&str> {
        self.local.as_deref()
    }

    /// Tells if both are one version, local parts aside.
    pub(crate) fn same_public(&self, other: &Self) -> bool {
        self.release == other.release && self.suffix == other.suffix
    }

    fn is_final(&self) -> bool {
        self.suffix.iter().all(|(stage, _)| *stage >= Stage::Final)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |version: &Self| [version.suffix.clone(), vec![(Stage::Final, 0)]].concat();
        self.release
            .cmp(&other.release)
            .then_with(|| rank(self).cmp(&rank(other)))
            .then_with(|| self.local.cmp(&other.local))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn suffix(text: &str) -> Option<Vec<(Stage, u64)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_matches(['.', '-', '_']);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let stage = match &rest[..end] {
            "dev" => Stage::Dev,
            "a" | "alpha" => Stage::Alpha,
            "b" | "beta" => Stage::Beta,
            "rc" | "c" | "pre" | "preview" => Stage::Candidate,
            "post" | "rev" | "r" => Stage::Post,
            _ => return None,
        };
        let tail = rest[end..].trim_start_matches(['.', '-', '_']);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        found.push((stage, if digits == 0 { 0 } else { tail[..digits].parse().ok()? }));
        rest = tail[digits..].trim_matches(['.', '-', '_']);
    }
    Some(found)
}

/// Tells if a version is one that a list such as `>=13.0.3,<14` allows. `None` for a list of another form.
pub(crate) fn allows(specifiers: &str, version: &Version) -> Option<bool> {
    let listed = specifiers.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut all = true;
    let mut names_one = false;
    for specifier in listed {
        let end = specifier.find(|c: char| !"=<>!~".contains(c))?;
        let (operator, text) = (&specifier[..end], specifier[end..].trim());
        names_one |= operator.starts_with("==");
        all &= holds(operator, text, version)?;
    }
    // A pre-release is taken where it is named only.
    Some(all && (names_one || version.is_final()))
}

fn holds(operator: &str, text: &str, version: &Version) -> Option<bool> {
    if let Some(prefix) = text.strip_suffix(".*") {
        let wanted: Vec<u64> = prefix.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let has = wanted.iter().enumerate().all(|(at, n)| version.release.get(at).unwrap_or(&0) == n);
        return match operator {
            "==" => Some(has),
            "!=" => Some(!has),
            _ => None,
        };
    }
    let other = Version::parse(text)?;
    // A local part counts only where the requirement has one.
    let equal = version.same_public(&other) && (other.local.is_none() || other.local == version.local);
    let public = Version { local: None, ..version.clone() };
    Some(match operator {
        "==" | "===" => equal,
        "!=" => !equal,
        ">=" => public >= other,
        "<=" => public <= other,
        ">" => public > other,
        "<" => public < other,
        "~=" => {
            let numbers: Vec<&str> = text.split('.').collect();
            let series = numbers.get(..numbers.len().checked_sub(1)?)?.join(".");
            public >= other && holds("==", &format!("{series}.*"), version)?
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_pep_440() {
        let ordered = [
            "1.0.dev1",
            "1.0a1",
            "1.0b2",
            "1.0rc1",
            "1.0",
            "1.0+cu126",
            "1.0.post1",
            "1.1",
            "1.10",
            "13.0.2",
        ];
        let parsed = ordered.map(|text| Version::parse(text).unwrap());
        for pair in parsed.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        assert_eq!(Version::parse("2.11"), Version::parse("2.11.0"));
        for other in ["", "new", "1.x", "1..2"] {
            assert_eq!(Version::parse(other), None, "{other}");
        }
    }

    #[test]
    fn requirements_allow_what_they_say() {
        for (specifiers, version, expected) in [
            ("==13.0.2", "13.0.2", true),
            ("==13.0.2", "13.0.2.1", false),
            ("==13.0.*", "13.0.96", true),
            ("==13.0.*", "13.1", false),
            ("<14,>=13.0.3", "13.5", true),
            ("<14,>=13.0.3", "14.0", false),
            ("~=9.19.0", "9.19.7", true),
            ("~=9.19.0", "9.20", false),
            (">=1", "2.0rc1", false),
            ("==2.0rc1", "2.0rc1", true),
            ("==2.11.0", "2.11.0+cu126", true),
            ("==2.11.0+cpu", "2.11.0+cu126", false),
            ("", "1", true),
        ] {
            assert_eq!(
                allows(specifiers, &Version::parse(version).unwrap()),
                Some(expected),
                "{specifiers} {version}"
            );
        }
        assert_eq!(allows("1.0", &Version::parse("1.0").unwrap()), None);
    }
}
