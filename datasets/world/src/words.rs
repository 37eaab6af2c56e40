//! Vocabulary: every word of the world, and what is true of it.

/// Group of nouns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// Name of one member: "animal".
    pub(crate) name: &'static str,
    words: &'static str,
}

impl Group {
    /// Members of the group.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.words.split_whitespace()
    }

    /// Returns the first `count` members: those that facts about people are made of.
    pub(crate) fn first(&self, count: usize) -> Vec<&'static str> {
        self.words().take(count).collect()
    }
}

/// Living beings; people of the world are the first of them.
pub(crate) const ANIMALS: Group = Group {
    name: "animal",
    words: "fox bear rabbit owl mouse horse goat duck frog hen cat dog wolf pig sheep cow otter mole crow deer \
            donkey badger beaver hamster turtle lizard spider snake eagle parrot",
};
/// Places; one can live in the first twenty.
pub(crate) const PLACES: Group = Group {
    name: "place",
    words: "barn forest garden mill tower cave harbour village castle kitchen library school bakery cellar valley cabin \
            church station palace attic meadow market island bridge desert farm",
};
/// Food.
pub(crate) const FOODS: Group = Group {
    name: "food",
    words: "plum apple pear cherry carrot nut berry cake pie melon peach onion bean potato tomato grape lemon cookie \
            radish egg banana mushroom pumpkin sausage biscuit pancake noodle apricot",
};
/// Possessions.
pub(crate) const OBJECTS: Group = Group {
    name: "object",
    words: "ball cup lamp book rope coin basket spoon key box hammer drum bell knife chair table brush kite wheel pot \
            mirror ladder needle candle bottle shovel",
};
/// Groups that only word tasks speak of, after those above.
pub(crate) const GROUPS: [Group; 8] = [
    ANIMALS,
    PLACES,
    FOODS,
    OBJECTS,
    Group {
        name: "garment",
        words: "shirt coat glove scarf boot shoe sock belt skirt jacket sweater apron cloak cape sandal slipper",
    },
    Group {
        name: "plant",
        words: "oak pine birch maple rose tulip daisy lily fern willow cactus bush violet poppy reed thistle",
    },
    Group {
        name: "body part",
        words: "nose ear eye hand foot arm knee elbow shoulder finger tooth chin leg neck thumb heel",
    },
    Group {
        name: "vehicle",
        words: "cart boat ship train wagon bicycle truck sledge canoe tractor bus car ferry rocket raft tram",
    },
];

/// Colours of hats and things.
pub(crate) const COLOURS: [&str; 11] =
    ["red", "blue", "green", "yellow", "black", "white", "brown", "purple", "orange", "grey", "pink"];

/// Things that have one colour, `/` before it.
const COLOURED: &str = "snow/white grass/green milk/white coal/black blood/red honey/yellow chocolate/brown salt/white \
    sugar/white butter/yellow ink/black tar/black soil/brown flour/white rust/orange moss/green mud/brown \
    smoke/grey ash/grey bread/brown lettuce/green spinach/green parsley/green corn/yellow mustard/yellow \
    cream/white chalk/white ivory/white soot/black ebony/black lavender/purple lilac/purple ketchup/red \
    wine/red fire/orange amber/orange coffee/brown cocoa/brown cinnamon/brown wood/brown leather/brown \
    rain/grey fog/grey steel/grey lead/grey concrete/grey ice/blue denim/blue sapphire/blue cobalt/blue \
    ruby/red coral/pink ham/pink salmon/pink bubblegum/pink emerald/green";

/// Pairs of opposites; no word is in two pairs or among the nouns.
const OPPOSITES: &str = "hot/cold big/small tall/short fast/slow happy/sad light/dark wet/dry old/young rich/poor full/empty \
    open/closed hard/soft clean/dirty loud/quiet early/late near/far high/low strong/weak thick/thin \
    wide/narrow good/bad right/wrong sweet/sour up/down in/out day/night summer/winter brave/afraid \
    deep/shallow smooth/rough sharp/blunt cheap/expensive first/last north/south east/west true/false \
    always/never begin/end push/pull give/take buy/sell win/lose love/hate laugh/cry";

/// Nouns whose plural follows no rule of [`plural`].
const IRREGULAR: &str =
    "mouse/mice sheep/sheep deer/deer wolf/wolves knife/knives foot/feet tooth/teeth scarf/scarves";

fn pairs(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.split_whitespace().filter_map(|entry| entry.split_once('/'))
}

/// Returns things and the one colour each has.
pub(crate) fn coloured() -> Vec<(&'static str, &'static str)> {
    pairs(COLOURED).collect()
}

/// Returns the pairs of opposites.
pub(crate) fn opposites() -> Vec<(&'static str, &'static str)> {
    pairs(OPPOSITES).collect()
}

/// Returns every noun with its group.
pub(crate) fn nouns() -> Vec<(&'static str, Group)> {
    GROUPS.iter().flat_map(|group| group.words().map(|word| (word, *group))).collect()
}

/// Forms the plural of a noun.
pub(crate) fn plural(noun: &str) -> String {
    if let Some((_, many)) = pairs(IRREGULAR).find(|(one, _)| *one == noun) {
        return many.to_owned();
    }
    let hisses = ["x", "s", "sh", "ch"].iter().any(|end| noun.ends_with(end));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if hisses || noun == "potato" || noun == "tomato" => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Puts the indefinite article before a noun.
pub(crate) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{coloured, nouns, opposites, plural};

    #[test]
    fn every_word_occurs_once_in_the_vocabulary() {
        let mut seen = HashSet::new();
        let opposites = opposites().into_iter().flat_map(|(a, b)| [a, b]);
        let words = nouns().into_iter().map(|(word, _)| word);
        for word in opposites.chain(words).chain(coloured().into_iter().map(|(thing, _)| thing)) {
            assert!(seen.insert(word), "{word}");
        }
    }

    #[test]
    fn plurals_follow_english_spelling() {
        for (one, many) in
            [("fox", "foxes"), ("berry", "berries"), ("key", "keys"), ("foot", "feet"), ("tram", "trams")]
        {
            assert_eq!(plural(one), many);
        }
    }
}
