//! Python's operators in a template's source, written as calls before minijinja compiles it.
//!
//! minijinja's own `+`, `~`, `%` and slices differ from Python's (no `"%d" % x`; a reversed slice of an empty text panics)
//! and know no bound; `{% generation %}` is a tag of transformers. So `a + b`, `a ~ b`, `a % b`, `a[b:c:d]` become calls of
//! the functions in `python.rs`, and `{% generation %}…{% endgeneration %}` a call block of [`GENERATION`]. All else, line
//! breaks too, stays as it is.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Function that a `{% generation %}` block calls.
pub(super) const GENERATION: &str = "__generation";
/// Functions of the operators.
pub(super) const ADD: &str = "__add";
pub(super) const CONCAT: &str = "__concat";
pub(super) const MODULO: &str = "__modulo";
pub(super) const SLICE: &str = "__slice";

/// Words that end an operand and begin another.
const KEYWORDS: [&str; 11] =
    ["and", "or", "not", "in", "is", "if", "else", "elif", "recursive", "import", "as"];

/// Source in minijinja's dialect, and what is known of it.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) source: String,
    /// It has a `{% generation %}` block.
    pub(super) has_generation: bool,
    /// Bytes of the longest text outside tags.
    pub(super) longest_text: usize,
    /// Names of the filters that it applies.
    pub(super) filters: BTreeSet<String>,
    /// Names of the tests that it performs.
    pub(super) tests: BTreeSet<String>,
}

/// Translates a template. Where it is no valid Jinja, minijinja says so.
pub(super) fn translate(source: &str) -> Translated {
    let mut translated = Translated {
        source: String::new(),
        has_generation: false,
        longest_text: 0,
        filters: BTreeSet::new(),
        tests: BTreeSet::new(),
    };
    let mut rest = source;
    while let Some(at) = next_tag(rest) {
        let (text, tag) = rest.split_at(at);
        translated.longest_text = translated.longest_text.max(text.len());
        translated.source.push_str(text);
        rest = translated.tag(tag);
    }
    translated.longest_text = translated.longest_text.max(rest.len());
    translated.source.push_str(rest);
    translated
}

/// Finds the next `{{`, `{%` or `{#`.
fn next_tag(text: &str) -> Option<usize> {
    let pairs = text.as_bytes().windows(2);
    pairs
        .enumerate()
        .find(|(_, pair)| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
        .map(|(at, _)| at)
}

impl Translated {
    /// Translates the tag that `text` begins with; returns what follows it.
    fn tag<'a>(&mut self, text: &'a str) -> &'a str {
        let (open, close) = match text.as_bytes()[1] {
            b'#' => return self.copy(text, text.find("#}").map(|at| at + 2)),
            b'{' => ("{{", "}}"),
            _ => ("{%", "%}"),
        };
        let signs = |text: &str| usize::from(text.starts_with(['-', '+']));
        let sign = signs(&text[2..]);
        let (begin, inside) = text.split_at(2 + sign);
        let (tokens, used) = lex(inside, close);
        let rest = &inside[used..];
        let end = signs(rest) + 2;
        if !rest.get(end - 2..).is_some_and(|rest| rest.starts_with(close)) {
            // No end: minijinja names the place.
            return self.copy(text, None);
        }
        let words: Vec<&str> =
            tokens.iter().filter(|token| token.kind != Kind::Space).map(|token| token.text).collect();
        if open == "{%" && words == ["raw"] {
            return self.copy(text, end_of_raw(text));
        }
        self.note_names(&words);
        self.source.push_str(begin);
        match (open, &words[..]) {
            ("{%", ["generation"]) => {
                self.has_generation = true;
                let _ = write!(self.source, " call {GENERATION}() ");
            }
            ("{%", ["endgeneration"]) => self.source.push_str(" endcall "),
            _ => {
                let mut expression = Expression { tokens: &tokens, next: 0 };
                self.source.push_str(&expression.until(None, open == "{%").0);
            }
        }
        let (end, rest) = rest.split_at(end);
        self.source.push_str(end);
        rest
    }

    /// Notes the filters and tests among the words of a tag.
    fn note_names(&mut self, words: &[&str]) {
        let is_name = |word: &str| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if let ["filter", filter, ..] = words {
            self.filters.insert((*filter).to_owned());
        }
        for (at, word) in words.iter().enumerate() {
            let behind = words.get(at + 1..).unwrap_or_default();
            match (*word, behind) {
                // An attribute may be called so.
                ("is", _) if at > 0 && words[at - 1] == "." => {}
                ("|", [filter, ..]) if is_name(filter) => {
                    self.filters.insert((*filter).to_owned());
                }
                ("is", ["not", test, ..] | [test, ..]) if is_name(test) => {
                    self.tests.insert((*test).to_owned());
                }
                _ => {}
            }
        }
    }

    /// Copies as much of `text`, or all.
    fn copy<'a>(&mut self, text: &'a str, len: Option<usize>) -> &'a str {
        let (copied, rest) = text.split_at(len.unwrap_or(text.len()));
        self.longest_text = self.longest_text.max(copied.len());
        self.source.push_str(copied);
        rest
    }
}

/// Returns the length of a `{% raw %}` block with its end tag.
fn end_of_raw(text: &str) -> Option<usize> {
    let mut from = 2;
    loop {
        let at = from + text.get(from..)?.find("{%")?;
        let inside = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        if inside.starts_with("endraw") {
            return Some(at + text[at..].find("%}")? + 2);
        }
        from = at + 2;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Name,
    /// Number or text.
    Literal,
    Operator,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

/// Cuts an expression into tokens, up to `close` outside brackets; also returns the bytes before it and its sign.
fn lex<'a>(text: &'a str, close: &str) -> (Vec<Token<'a>>, usize) {
    let mut tokens = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if depth == 0 && rest.strip_prefix(['-', '+']).unwrap_or(rest).starts_with(close) {
            break;
        }
        let run = |holds: fn(char) -> bool| rest.find(|c| !holds(c)).unwrap_or(rest.len());
        let (kind, len) = match first {
            c if c.is_whitespace() => (Kind::Space, run(char::is_whitespace)),
            c if c.is_ascii_digit() => {
                (Kind::Literal, run(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            }
            c if c.is_alphabetic() || c == '_' => (Kind::Name, run(|c| c.is_alphanumeric() || c == '_')),
            '"' | '\'' => (Kind::Literal, quoted(rest, first)),
            _ => {
                match first {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                let two =
                    ["**", "//", "==", "!=", "<=", ">="].iter().any(|operator| rest.starts_with(operator));
                (Kind::Operator, if two { 2 } else { first.len_utf8() })
            }
        };
        tokens.push(Token { kind, text: &rest[..len] });
        at += len;
    }
    (tokens, at)
}

/// Returns the length of a text in quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Levels of binary operators, from the loosest on, and the operand itself (Jinja's `parse_math1`, `parse_concat`,
/// `parse_math2`, `parse_primary`).
const SUM: usize = 0;
const JOIN: usize = 1;
const PRODUCT: usize = 2;
const OPERAND: usize = 3;

struct Expression<'t, 'a> {
    tokens: &'t [Token<'a>],
    next: usize,
}

/// Text of an expression as far as it is translated.
#[derive(Default)]
struct Output {
    text: String,
    /// Beginning of the left operand of each level.
    starts: [usize; 4],
    /// Levels with a call that waits for its right operand's end.
    open: [bool; 3],
    /// Places of colons, which separate the parts of a slice.
    colons: Vec<usize>,
}

impl Output {
    /// Ends the calls of `level` and of those that bind more tightly.
    fn close(&mut self, level: usize) {
        for open in self.open[level..].iter_mut().rev() {
            if std::mem::take(open) {
                self.text.push(')');
            }
        }
    }

    /// Writes a binary operator of `level`, as a call of `function` if there is one.
    fn binary(&mut self, level: usize, operator: &str, function: Option<&str>) {
        self.close(level);
        if let Some(function) = function {
            // With a space, as a word may stand before it.
            self.text.insert_str(self.starts[level], &format!(" {function}("));
            self.open[level] = true;
        }
        self.text.push_str(if function.is_some() { "," } else { operator });
        self.starts[level + 1..].fill(self.text.len());
    }

    /// Writes what binds more loosely than all binary operators here.
    fn separate(&mut self, text: &str) {
        self.close(SUM);
        if text == ":" {
            self.colons.push(self.text.len());
        }
        self.text.push_str(text);
        self.starts.fill(self.text.len());
    }
}

impl Expression<'_, '_> {
    /// Translates up to the bracket `end`, which is passed; also returns the places of the colons outside brackets. The
    /// first word of a statement is its name.
    fn until(&mut self, end: Option<&str>, mut statement: bool) -> (String, Vec<usize>) {
        let mut out = Output::default();
        // An operand has ended, so that `+` is binary and `[` a subscript; the next word belongs to it.
        let (mut ended, mut joined) = (false, false);
        while let Some(&Token { kind, text }) = self.tokens.get(self.next) {
            self.next += 1;
            if Some(text) == end && kind == Kind::Operator {
                break;
            }
            match kind {
                Kind::Space => {
                    out.text.push_str(text);
                    continue;
                }
                Kind::Name if std::mem::take(&mut statement) || (!joined && KEYWORDS.contains(&text)) => {
                    out.separate(text);
                    ended = false;
                }
                Kind::Name | Kind::Literal => {
                    if !joined && !ended {
                        out.starts[OPERAND] = out.text.len();
                    }
                    out.text.push_str(text);
                    ended = true;
                }
                Kind::Operator => ended = self.operator(text, ended, &mut out),
            }
            joined = matches!(text, "." | "|") && kind == Kind::Operator;
        }
        out.close(SUM);
        (out.text, out.colons)
    }

    /// Translates an operator or a bracket and what is in it; tells whether an operand ends there.
    fn operator(&mut self, text: &str, ended: bool, out: &mut Output) -> bool {
        let closing = match text {
            "(" => ")",
            "[" => "]",
            "{" => "}",
            "." | "|" => {
                out.text.push_str(text);
                return ended;
            }
            _ => {
                match text {
                    "+" if ended => out.binary(SUM, text, Some(ADD)),
                    "-" if ended => out.binary(SUM, text, None),
                    "~" if ended => out.binary(JOIN, text, Some(CONCAT)),
                    "%" if ended => out.binary(PRODUCT, text, Some(MODULO)),
                    "*" | "/" | "//" if ended => out.binary(PRODUCT, text, None),
                    "+" | "-" | "*" | "**" => out.text.push_str(text),
                    _ => out.separate(text),
                }
                return false;
            }
        };
        if !ended {
            out.starts[OPERAND] = out.text.len();
        }
        let (inside, colons) = self.until(Some(closing), false);
        if text == "[" && ended && !colons.is_empty() {
            let operand = out.text.split_off(out.starts[OPERAND]);
            let mut parts = ["none"; 3];
            let mut begin = 0;
            let ends = colons.iter().copied().chain([inside.len()]);
            for (part, end) in parts.iter_mut().zip(ends) {
                if !inside[begin..end].trim().is_empty() {
                    *part = &inside[begin..end];
                }
                begin = end + 1;
            }
            let _ = write!(out.text, "{SLICE}({operand}, {})", parts.join(", "));
        } else {
            out.text.push_str(text);
            out.text.push_str(&inside);
            out.text.push_str(closing);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_become_calls_in_the_order_in_which_jinja_binds_them() {
        for (source, expected) in [
            ("{{ a + b }}", "{{__add( a , b )}}"),
            ("{{ a + b + c }}", "{{__add(__add( a , b ), c )}}"),
            ("{{ a + b ~ c % d }}", "{{__add( a ,__concat( b ,__modulo( c , d )))}}"),
            ("{{ a % b * c - d }}", "{{__modulo( a , b )* c - d }}"),
            ("{{ -a + -b }}", "{{__add( -a , -b )}}"),
            (
                "{{ '%d' % x if x % 2 == 0 else y }}",
                "{{__modulo( '%d' , x )if__modulo( x , 2 )== 0 else y }}",
            ),
            ("{% set x = ns.a + b|trim %}", "{% set x =__add( ns.a , b|trim )%}"),
            ("{%- if m['a'] + '{{' -%}", "{%- if__add( m['a'] , '{{' )-%}"),
            ("{{ f(a, k=b + c)[1:] }}", "{{ __slice(f(a, k=__add(b , c)), 1, none, none) }}"),
            (
                "{{ x.y[::-1].z[a + 1:] }}",
                "{{ __slice(__slice(x.y, none, none, -1).z,__add( a , 1), none, none) }}",
            ),
            ("{{ {'a': 1}['a'] }}", "{{ {'a': 1}['a'] }}"),
            ("{{ {'a': {'b': c + d}} }}", "{{ {'a': {'b':__add( c , d)}} }}"),
            ("{{ m[-1] }}", "{{ m[-1] }}"),
        ] {
            let squeezed = |text: &str| text.replace(' ', "");
            assert_eq!(squeezed(&translate(source).source), squeezed(expected), "{source}");
        }
    }

    #[test]
    fn text_comments_and_raw_blocks_stay_as_they_are() {
        for source in [
            "a + b % c",
            "{# a + b {% generation %} #}x",
            "{% raw %}{{ a + b }}{% generation %}{%- endraw %}",
            "{{ 'a + b [1:] {% generation %}' }}",
            "{{ a",
            "{% if '",
            "{",
            "é{é",
        ] {
            let translated = translate(source);
            assert_eq!(translated.source, source);
            assert!(!translated.has_generation);
        }
    }

    #[test]
    fn generation_tags_become_call_blocks_with_their_signs() {
        let translated = translate("{%- generation -%}a{% endgeneration %}");
        assert_eq!(translated.source, "{%- call __generation() -%}a{% endcall %}");
        assert!(translated.has_generation);
    }
}
