//! Names near to one that is not there.

/// Finds the `names` that share most with `name` at its beginning and end together, best first.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let common = |a: &mut dyn Iterator<Item = (u8, u8)>| a.take_while(|(a, b)| a == b).count();
    let likeness = |other: &str| {
        let head = common(&mut name.bytes().zip(other.bytes()));
        let tail = common(&mut name.bytes().rev().zip(other.bytes().rev()));
        (head + tail).min(name.len()) * 2
    };
    let mut ranked: Vec<_> = names
        .map(|other| (likeness(other).saturating_sub(other.len().abs_diff(name.len())), other))
        .filter(|(likeness, _)| *likeness >= name.len())
        .collect();
    ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
    ranked.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}
