//! A zip archive of stored records whose sizes are known beforehand (APPNOTE 6.3.10, ZIP64 form throughout).

/// Alignment of a record's content, in bytes, as `torch.save` has it.
const ALIGNMENT: u64 = 64;
/// Extra fields: the sizes of ZIP64, and filling (`FB`, as PyTorch's own writer names it).
const ZIP64: u16 = 1;
const FILLING: u16 = 0x4246;
/// Version that knows ZIP64.
const VERSION: u16 = 45;
/// Date of every record, the format's first: the same tensors give the same bytes. (MS-DOS: day, month and year.)
const DATE: u16 = 1 | 1 << 5;

/// One record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) num_bytes: u64,
    /// First byte of its local header.
    pub(super) start: u64,
    /// Checksum, once the content is known.
    pub(super) crc: u32,
}

/// Bytes from the start of a local header to its checksum.
pub(super) const CRC_OFFSET: u64 = 14;

/// The records of an archive, in order.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) list: Vec<Record>,
    end: u64,
}

impl Records {
    pub(super) fn push(&mut self, name: String, num_bytes: u64) {
        let start = self.end;
        let content = start + header_len(&name, start);
        self.end = content + num_bytes;
        self.list.push(Record { name, num_bytes, start, crc: 0 });
    }

    /// Returns the size of the whole archive in bytes.
    pub(super) fn num_bytes(&self) -> u64 {
        self.end + self.directory().len() as u64
    }

    /// Makes the header of a record; its checksum may still be missing.
    pub(super) fn local_header(record: &Record) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        u16s(&mut bytes, &[VERSION, 0, 0, 0, DATE]);
        u32s(&mut bytes, &[record.crc, u32::MAX, u32::MAX]);
        let filling = filling(&record.name, record.start);
        u16s(&mut bytes, &[record.name.len() as u16, 20 + 4 + filling as u16]);
        bytes.extend(record.name.as_bytes());
        u16s(&mut bytes, &[ZIP64, 16]);
        u64s(&mut bytes, &[record.num_bytes, record.num_bytes]);
        u16s(&mut bytes, &[FILLING, filling as u16]);
        bytes.resize(bytes.len() + filling as usize, b'Z');
        bytes
    }

    /// Makes the directory that follows the last record.
    pub(super) fn directory(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in &self.list {
            bytes.extend(b"PK\x01\x02");
            u16s(&mut bytes, &[VERSION, VERSION, 0, 0, 0, DATE]);
            u32s(&mut bytes, &[record.crc, u32::MAX, u32::MAX]);
            u16s(&mut bytes, &[record.name.len() as u16, 28, 0, 0, 0]);
            u32s(&mut bytes, &[0, u32::MAX]);
            bytes.extend(record.name.as_bytes());
            u16s(&mut bytes, &[ZIP64, 24]);
            u64s(&mut bytes, &[record.num_bytes, record.num_bytes, record.start]);
        }
        let (count, size) = (self.list.len() as u64, bytes.len() as u64);
        bytes.extend(b"PK\x06\x06");
        u64s(&mut bytes, &[44]);
        u16s(&mut bytes, &[VERSION, VERSION]);
        u32s(&mut bytes, &[0, 0]);
        u64s(&mut bytes, &[count, count, size, self.end]);
        bytes.extend(b"PK\x06\x07");
        u32s(&mut bytes, &[0]);
        u64s(&mut bytes, &[self.end + size]);
        u32s(&mut bytes, &[1]);
        bytes.extend(b"PK\x05\x06");
        u16s(&mut bytes, &[0, 0, u16::MAX, u16::MAX]);
        u32s(&mut bytes, &[u32::MAX, u32::MAX]);
        u16s(&mut bytes, &[0]);
        bytes
    }
}

/// Returns the bytes of the fixed part, the name, the sizes and the head of the filling.
fn unfilled_len(name: &str) -> u64 {
    30 + name.len() as u64 + 20 + 4
}

fn filling(name: &str, start: u64) -> u64 {
    let end = start + unfilled_len(name);
    end.next_multiple_of(ALIGNMENT) - end
}

fn header_len(name: &str, start: u64) -> u64 {
    unfilled_len(name) + filling(name, start)
}

fn u16s(bytes: &mut Vec<u8>, values: &[u16]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn u32s(bytes: &mut Vec<u8>, values: &[u32]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn u64s(bytes: &mut Vec<u8>, values: &[u64]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
