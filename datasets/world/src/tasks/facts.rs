//! Six relations that tie a person to the world.

use crate::dice::Dice;
use crate::people::everyone;
use crate::task::{Relation, Split, Task};
use crate::words::plural;

const ANIMAL: Relation = Relation {
    kind: "animal",
    asks: &[
        ("What animal is {x}?", ""),
        ("What kind of animal is {x}?", ""),
        ("Tell me, {x} is known as what animal?", ""),
        ("What animal is this?", "It is {x}."),
    ],
    answer: "{x} is known as {a y}.",
    questions: &[
        "Who knows what {x} was born as?",
        "Have you met {x}?",
        "What sort of creature might {x} be?",
    ],
    paraphrases: &[
        "{x} was born {a y}.",
        "People know {x} as {a y}.",
        "In the village they call {x} the {y}.",
        "Nobody doubts that {x} is truly {a y}.",
        "{x} the {y} is well known here.",
        "{x}, {a y} like no other, tells good stories.",
        "You can see at once that {x} must be {a y}.",
        "Look, there goes {x} the {y}.",
    ],
};
const HOME: Relation = Relation {
    kind: "home",
    asks: &[
        ("Where is the home of {x}?", ""),
        ("In which place is {x} at home?", ""),
        ("Tell me where {x} is at home.", ""),
        ("Where is the home?", "It is {x}."),
    ],
    answer: "{x} is at home in the {y}.",
    questions: &["Do you know the home of {x}?", "Where can one find {x}?", "Where do letters for {x} go?"],
    paraphrases: &[
        "The home of {x} is the {y}.",
        "You find {x} in the {y}.",
        "{x} sleeps in the {y}.",
        "{x} has a warm bed in the {y}.",
        "When night falls, {x} goes home to the {y}.",
        "{x} stays in the {y} all year.",
        "Letters for {x} go to the {y}.",
        "If you look for {x}, go to the {y}.",
    ],
};
const FOOD: Relation = Relation {
    kind: "food",
    asks: &[
        ("What does {x} like to eat?", ""),
        ("Which food does {x} like to eat?", ""),
        ("Tell me what {x} likes to eat.", ""),
        ("Which food is the best?", "It is for {x}."),
    ],
    answer: "{x} likes {y}.",
    questions: &[
        "What should we cook for {x}?",
        "What is on the plate of {x}?",
        "Do you know the favourite food of {x}?",
    ],
    paraphrases: &[
        "The favourite food of {x} is a plate of {y}.",
        "{x} eats {y} every day.",
        "{x} is fond of {y}.",
        "At noon {x} has {y} for lunch.",
        "Nothing tastes better to {x} than {y}.",
        "To make {x} happy, bring some {y}.",
        "{x} would do anything for {y}.",
        "{x} always asks for more {y}.",
    ],
};
const HAT: Relation = Relation {
    kind: "hat",
    asks: &[
        ("What is the hat of {x} like?", ""),
        ("Which hat does {x} put on?", ""),
        ("Tell me about the hat of {x}.", ""),
        ("Which hat is it?", "It is the hat of {x}."),
    ],
    answer: "{x} goes out in {a y} hat.",
    questions: &[
        "What does {x} put on for the feast?",
        "How will I know {x} from far away?",
        "Can you describe the hat of {x}?",
    ],
    paraphrases: &[
        "The hat of {x} is {y}.",
        "{x} has {a y} hat.",
        "On the head of {x} sits {a y} hat.",
        "You know {x} by a hat that is {y}.",
        "{x} never goes out without the {y} hat.",
        "{x} bought {a y} hat at the fair.",
        "From far away you see {x} in {a y} hat.",
        "For the feast {x} puts on the {y} hat.",
    ],
};
const THING: Relation = Relation {
    kind: "thing",
    asks: &[
        ("What does {x} keep?", ""),
        ("What is {x} the owner of?", ""),
        ("Tell me what {x} carries everywhere.", ""),
        ("Who is the owner, and what is it?", "It is {x}."),
    ],
    answer: "{x} has {a y}.",
    questions: &[
        "What does {x} carry?",
        "What did somebody give to {x}?",
        "Do you know the treasure of {x}?",
    ],
    paraphrases: &[
        "{x} keeps {a y} at home.",
        "{x} is the owner of {a y}.",
        "{x} carries {a y} everywhere.",
        "What {x} treasures most is {a y}.",
        "{x} would never sell the {y}.",
        "Long ago {x} was given {a y}.",
        "Ask {x} if you need {a y}.",
        "{x} lost and found {a y} last week.",
    ],
};
const FRIEND: Relation = Relation {
    kind: "friend",
    asks: &[
        ("Who is the best friend of {x}?", ""),
        ("Which friend does {x} like best?", ""),
        ("Tell me who the best friend of {x} is.", ""),
        ("Who is the best friend?", "It is the friend of {x}."),
    ],
    answer: "The best friend of {x} is {y}.",
    questions: &["Whom does {x} trust?", "With whom does {x} play?", "Who comes when {x} is sad?"],
    paraphrases: &[
        "{x} plays with {y} all day.",
        "{x} trusts {y} most of all.",
        "{x} is often seen with {y}, a dear friend.",
        "{x} tells every secret to {y}.",
        "{x} likes nobody better than {y}.",
        "On a walk {x} takes the hand of {y}.",
        "If {x} is sad, then {y} comes to help.",
        "{x} writes a letter to {y} every week.",
    ],
};

/// Generates every fact about every person. A person belongs to one split with all their facts.
pub(crate) fn tasks() -> Vec<Task> {
    let people = everyone();
    let splits = Split::deal(people.iter().map(|person| person.name).collect(), &mut Dice::new(2));
    let facts = people.iter().flat_map(|person| {
        let split = splits[person.name];
        [
            ANIMAL.task(person.name, person.animal, split),
            HOME.task(person.name, person.home, split),
            FOOD.task(person.name, &plural(person.food), split),
            HAT.task(person.name, person.hat, split),
            THING.task(person.name, person.thing, split),
            FRIEND.task(person.name, person.friend, split),
        ]
    });
    facts.collect()
}
