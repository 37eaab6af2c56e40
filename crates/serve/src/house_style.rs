//! The look of all pages.

/// Style that all pages share, as CSS: colours for light and dark, controls, panels, a phone's width.
pub const HOUSE_STYLE: &str = include_str!("house.css");
