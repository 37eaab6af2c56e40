//! Colours, markers and dashes that differ without colour, too.

use plotters::style::RGBColor;

/// Axes and letters; HTML gives it the colour of its text.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Lines of the grid.
pub(crate) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008, without yellow, which paper swallows).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x77, 0x77, 0x77),
];

/// Lengths of dashes and gaps in turn; none for a whole line.
const DASHES: [&[f64]; 5] = [&[], &[14.0, 7.0], &[3.0, 6.0], &[16.0, 6.0, 3.0, 6.0], &[8.0, 5.0]];

/// The form of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Down,
    Plus,
}

const MARKERS: [Marker; 7] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
    Marker::Cross,
    Marker::Down,
    Marker::Plus,
];

pub(crate) fn colour(style: usize) -> RGBColor {
    COLOURS[style % COLOURS.len()]
}

pub(crate) fn marker(style: usize) -> Marker {
    MARKERS[style % MARKERS.len()]
}

pub(crate) fn dashes(style: usize) -> &'static [f64] {
    DASHES[style % DASHES.len()]
}
