//! One face out of a collection of fonts.

/// Returns the face `index` of a font collection (`.ttc`) as a font of its own; a plain font comes back as it is. Tables that a
/// collection shares between faces are copied.
pub(crate) fn standalone_face(data: &[u8], index: u32) -> Option<Vec<u8>> {
    if data.get(..4)? != b"ttcf" {
        return Some(data.to_vec());
    }
    let long = |at: usize| Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?));
    if index >= long(8)? {
        return None;
    }
    let directory = long(12 + 4 * index as usize)? as usize;
    let count = u16::from_be_bytes(data.get(directory + 4..directory + 6)?.try_into().ok()?) as usize;
    let mut head = data.get(directory..directory + 12 + 16 * count)?.to_vec();
    let mut tables = Vec::new();
    for table in 0..count {
        let entry = 12 + 16 * table;
        let (offset, length) =
            (long(directory + entry + 8)? as usize, long(directory + entry + 12)? as usize);
        let place = (head.len() + tables.len()) as u32;
        tables.extend_from_slice(data.get(offset..offset + length)?);
        tables.resize(tables.len().next_multiple_of(4), 0);
        head[entry + 8..entry + 12].copy_from_slice(&place.to_be_bytes());
    }
    head.extend_from_slice(&tables);
    Some(head)
}

/// Returns the height of a line, as plotters reckons the size of letters, over the em, as SVG does; 1 where the font does not tell.
pub(super) fn line_per_em(data: &[u8]) -> f64 {
    let table = |name: &[u8; 4]| {
        let count = usize::from(u16::from_be_bytes(data.get(4..6)?.try_into().ok()?));
        let mut entries = (0..count).filter_map(|index| data.get(12 + 16 * index..28 + 16 * index));
        let entry = entries.find(|entry| entry.starts_with(name))?;
        data.get(u32::from_be_bytes(entry[8..12].try_into().ok()?) as usize..)
    };
    let number = |table: &[u8], at: usize| Some(i16::from_be_bytes(table.get(at..at + 2)?.try_into().ok()?));
    let ratio = || {
        let em = f64::from(number(table(b"head")?, 18)?);
        let (mut up, mut down) = (number(table(b"hhea")?, 4)?, number(table(b"hhea")?, 6)?);
        // Bit 7 of fsSelection: the typographic ones count.
        if let Some(os2) = table(b"OS/2").filter(|os2| number(os2, 62).is_some_and(|bits| bits & 0x80 != 0)) {
            (up, down) = (number(os2, 68)?, number(os2, 70)?);
        }
        Some((f64::from(up) - f64::from(down)) / em)
    };
    ratio().filter(|ratio| (0.5..3.0).contains(ratio)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a collection of two faces of one table each, with four bytes in it.
    fn collection() -> Vec<u8> {
        let mut data = b"ttcf\x00\x01\x00\x00".to_vec();
        let face = |table_at: u32| {
            let mut face = b"OTTO\x00\x01\x00\x00\x00\x00\x00\x00glyf\x00\x00\x00\x00".to_vec();
            face.extend(table_at.to_be_bytes());
            face.extend(4u32.to_be_bytes());
            face
        };
        data.extend(2u32.to_be_bytes());
        data.extend(20u32.to_be_bytes());
        data.extend(48u32.to_be_bytes());
        data.extend(face(76));
        data.extend(face(80));
        data.extend(b"onetwo!!");
        data
    }

    #[test]
    fn an_extracted_face_has_its_own_tables() {
        let second = standalone_face(&collection(), 1).unwrap();
        assert_eq!(&second[..4], b"OTTO");
        assert_eq!(&second[28..], b"wo!!");
        assert_eq!(second[20..24], 28u32.to_be_bytes());
        assert!(standalone_face(&collection(), 2).is_none());
    }
}
