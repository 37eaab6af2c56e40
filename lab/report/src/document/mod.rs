//! A document as templates write it and writers read it: blocks of spans, without any format's syntax.

mod block;
mod span;

pub(crate) use block::{Align, Block, Column, Document, Figure, Row, Table, Tone, is_short_code};
pub(crate) use span::{Span, plain_text, spans};
