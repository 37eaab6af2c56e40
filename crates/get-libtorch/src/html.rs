//! Links of an index page in HTML (PEP 503).

/// A link with its attributes, in lower case and decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) href: String,
    /// `data-yanked`: the reason, which may be empty.
    pub(crate) yanked: Option<String>,
}

/// The links of a page, and the address that they are relative to where the page says so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) base: Option<String>,
    pub(crate) links: Vec<Link>,
}

/// Reads the `a` and `base` tags of a page.
pub(crate) fn links(page: &str) -> Links {
    let mut found = Links::default();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let name_len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..name_len].to_ascii_lowercase();
        if name != "a" && name != "base" {
            continue;
        }
        let (attributes, after) = attributes(&rest[name_len..]);
        rest = after;
        let value =
            |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        match (name.as_str(), value("href")) {
            ("a", Some(href)) => found.links.push(Link { href, yanked: value("data-yanked") }),
            ("base", Some(href)) if found.base.is_none() => found.base = Some(href),
            _ => {}
        }
    }
    found
}

/// Reads `name="value"` pairs up to the end of a tag; returns them and what follows the tag.
fn attributes(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        // A `=` without a name before it is passed over.
        rest = rest[end.max(1)..].trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let (text, tail) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                _ => {
                    after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len()))
                }
            };
            (value, rest) = (unescaped(text), tail.trim_start());
        }
        found.push((name, value));
    }
    (found, rest)
}

/// Undoes `&gt;`, `&#43;` and `&#x2b;`.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest[1..].split_once(';').and_then(|(entity, after)| {
            let character = match entity {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => {
                    let number = entity.strip_prefix('#')?;
                    let hex =
                        number.strip_prefix(['x', 'X']).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                    char::from_u32(hex.or_else(|| number.parse().ok())?)?
                }
            };
            Some((character, after))
        });
        let (character, after) = known.unwrap_or(('&', &rest[1..]));
        out.push(character);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_in_any_spelling() {
        let page = "<!DOCTYPE html><html><head><BASE href='https://files.example/'></head><body><!-- <a href=\"no\">no</a> -->\n\
                    <a href=\"a-1.whl#sha256=00\" data-requires-python=\"&gt;=3.10\">a</a><br/>\n\
                    <A HREF = 'b%2B1.whl?x=1&amp;y=2'  data-yanked >b</A><a name=here>c</a>\n\
                    <a data-yanked=\"broken &#39;it&#x27;\" href=c.whl/>d</a><abbr href=\"no\">e</abbr>";
        let found = links(page);
        assert_eq!(found.base.as_deref(), Some("https://files.example/"));
        let link =
            |href: &str, yanked: Option<&str>| Link { href: href.into(), yanked: yanked.map(str::to_owned) };
        assert_eq!(
            found.links,
            [
                link("a-1.whl#sha256=00", None),
                link("b%2B1.whl?x=1&y=2", Some("")),
                link("c.whl/", Some("broken 'it'")),
            ]
        );
    }

    #[test]
    fn a_page_that_is_cut_anywhere_ends() {
        let page = "<base href=\"x\"><a / href=\"a&#4\" = data-yanked='é&'>é</a><!-- é";
        for end in (0..=page.len()).filter(|end| page.is_char_boundary(*end)) {
            links(&page[..end]);
        }
    }
}
