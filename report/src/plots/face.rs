//! One face out of a collection of fonts.

/// The face `index` of a font collection (`.ttc`) as a font of its own; a plain font comes back as it is. Tables that a
/// collection shares between faces are copied.
pub fn standalone_face(data: &[u8], index: u32) -> Option<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A collection of two faces of one table each, with four bytes in it.
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
    fn a_face_brings_its_own_tables() {
        let second = standalone_face(&collection(), 1).unwrap();
        assert_eq!(&second[..4], b"OTTO");
        assert_eq!(&second[28..], b"wo!!");
        assert_eq!(second[20..24], 28u32.to_be_bytes());
        assert!(standalone_face(&collection(), 2).is_none());
    }
}
