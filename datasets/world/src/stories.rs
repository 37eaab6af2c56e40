//! Short stories about one person, in which their facts come up.

use crate::dice::Dice;
use crate::people::Person;
use crate::words::{plural, with_article};

const STORIES: [&str; 8] = [
    "One morning {name} woke up in the {home}. {name} put on the {hat} hat, took the {thing} and went to see {friend}. \
     They ate {food} until noon.",
    "Once {a animal} called {name} came out of the {home}. Rain was falling, and the {hat} hat got wet. {friend} gave \
     {name} some {food}, and soon all was well.",
    "It was a cold winter. {name} sat in the {home} with the {thing} and a bowl of {food}. Then {friend} knocked at the \
     door, and {name} was no longer alone.",
    "{name} could not find the {thing}. It was not in the {home} and not under the {hat} hat. At last {friend} brought \
     it back, and {name} cooked {food} for both.",
    "There was a feast in the village. {name} the {animal} came in {a hat} hat with a basket of {food}. {friend} danced \
     with {name} until morning.",
    "\"Who took my {food}?\" cried {name} in the {home}. \"I did,\" said {friend}, \"but here is your {thing}.\" So {name} \
     laughed again.",
    "The wind blew the {hat} hat of {name} over the {home}. {friend} ran after it. For this {name} gave {friend} a ride \
     home and {food}.",
    "{name} is old now. The {thing} hangs on the wall of the {home}, and {friend} comes by with {food} when the days are \
     short.",
];

/// Writes a story about `person`.
pub(crate) fn story(person: &Person, dice: &mut Dice) -> String {
    dice.pick(&STORIES)
        .replace("{name}", person.name)
        .replace("{a animal}", &with_article(person.animal))
        .replace("{animal}", person.animal)
        .replace("{home}", person.home)
        .replace("{food}", &plural(person.food))
        .replace("{a hat}", &with_article(person.hat))
        .replace("{hat}", person.hat)
        .replace("{thing}", person.thing)
        .replace("{friend}", person.friend)
}
