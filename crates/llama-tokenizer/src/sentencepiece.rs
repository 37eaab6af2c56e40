//! Reads what a BPE needs from a SentencePiece model file (google/sentencepiece, `sentencepiece_model.proto`).

/// The type of a piece, by its number in the file.
pub(crate) mod piece_type {
    pub(crate) const NORMAL: u64 = 1;
    pub(crate) const UNKNOWN: u64 = 2;
    pub(crate) const CONTROL: u64 = 3;
    pub(crate) const USER_DEFINED: u64 = 4;
    /// A token that stands for nothing.
    pub(crate) const UNUSED: u64 = 5;
    pub(crate) const BYTE: u64 = 6;

    /// Tells of the types that a text may spell whatever the merges say whether they stand for no text; `None` for the
    /// others.
    pub(crate) fn is_special(kind: u64) -> Option<bool> {
        match kind {
            UNKNOWN | CONTROL => Some(true),
            USER_DEFINED => Some(false),
            _ => None,
        }
    }
}

/// One entry of the vocabulary; its id is its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// BPE merges the pair of the highest score first.
    pub(crate) score: f32,
    /// One of [`piece_type`].
    pub(crate) kind: u64,
}

/// The parts of a model file that decide its ids.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of the file")]
pub(crate) struct SentencePieceModel {
    pub(crate) pieces: Vec<Piece>,
    /// 1 unigram, 2 BPE, 3 word, 4 char.
    pub(crate) model_type: u64,
    pub(crate) has_charsmap: bool,
    pub(crate) add_dummy_prefix: bool,
    pub(crate) remove_extra_whitespaces: bool,
    pub(crate) escape_whitespaces: bool,
}

impl SentencePieceModel {
    /// Parses the bytes of a `.model` file.
    ///
    /// # Errors
    /// A sentence about where they stop making sense.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            model_type: 1,
            has_charsmap: false,
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(Piece::parse(piece)?),
                (2, Value::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        if let (3, Value::Varint(model_type)) = field? {
                            model.model_type = model_type;
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => {
                    for field in Fields(normalizer) {
                        match field? {
                            (2, Value::Bytes(charsmap)) => model.has_charsmap = !charsmap.is_empty(),
                            (3, Value::Varint(on)) => model.add_dummy_prefix = on != 0,
                            (4, Value::Varint(on)) => model.remove_extra_whitespaces = on != 0,
                            (5, Value::Varint(on)) => model.escape_whitespaces = on != 0,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() { Err("it holds no piece".to_owned()) } else { Ok(model) }
    }
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: piece_type::NORMAL };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(text)) => {
                    std::str::from_utf8(text)
                        .map_err(|_| "a piece is not UTF-8")?
                        .clone_into(&mut piece.text);
                }
                (2, Value::Fixed32(score)) => piece.score = f32::from_le_bytes(score),
                (3, Value::Varint(kind)) => piece.kind = kind,
                _ => {}
            }
        }
        Ok(piece)
    }
}

/// The value of a protocol buffer field.
enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of a protocol buffer message, as (number, value).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let left = self.0.len();
        let len = usize::try_from(len).ok().filter(|&len| len <= left);
        let (taken, rest) = self.0.split_at(len.ok_or("a field goes beyond the end of the file")?);
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().map_err(|_| "a number is cut short")?),
            wire => return Err(format!("a field has the unknown wire type {wire}")),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
