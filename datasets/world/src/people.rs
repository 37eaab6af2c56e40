//! People of the world, and the facts that tie them to animals, places and things.

use crate::dice::Dice;
use crate::words::{ANIMALS, COLOURS, FOODS, OBJECTS, PLACES};

const NAMES: &str = "Mira Tom Ana Leo Nina Oto Pia Rex Sam Tia Udo Vera Wim Xena Yuri Zoe Abel Bea Cora Dan Ella Finn Gus \
    Hana Ivo Jana Kai Lena Max Nora Olaf Petra Rosa Stig Tara Uma Vito Wanda Ari Bruno Clara Dora Emil Fay \
    Greta Hugo Iris Jon Kira Lars Milo Nell Otis Pola Quin Rita Sven Thea Ulla Vic Adam Alma Anton Asta Axel \
    Berta Boris Carla Cleo Cyril Daria Dirk Edda Edgar Egon Elias Elsa Enzo Erna Eva Felix Flora Frank Fritz \
    Gina Gerda Gino Hedda Heidi Helga Henry Ida Igor Ilse Ines Irma Ivan Jack Jens Jonas";

/// Person, with six facts about them.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Name; nobody shares one.
    pub(crate) name: &'static str,
    /// Animal they are.
    pub(crate) animal: &'static str,
    /// Place they live in.
    pub(crate) home: &'static str,
    /// Food they like, in the singular.
    pub(crate) food: &'static str,
    /// Colour of their hat.
    pub(crate) hat: &'static str,
    /// Thing they own.
    pub(crate) thing: &'static str,
    /// Name of their best friend.
    pub(crate) friend: &'static str,
}

/// Generates everyone, with facts drawn independently of each other and of the name.
pub(crate) fn everyone() -> Vec<Person> {
    let mut dice = Dice::new(1);
    let names: Vec<&'static str> = NAMES.split_whitespace().collect();
    let (animals, homes, foods, things) =
        (ANIMALS.first(20), PLACES.first(20), FOODS.first(20), OBJECTS.first(20));
    let mut one = |words: &[&'static str]| words[dice.below(words.len())];
    names
        .iter()
        .map(|&name| Person {
            name,
            animal: one(&animals),
            home: one(&homes),
            food: one(&foods),
            hat: one(&COLOURS),
            thing: one(&things),
            friend: loop {
                let friend = one(&names);
                if friend != name {
                    break friend;
                }
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::everyone;

    #[test]
    fn nobody_shares_a_name_or_is_their_own_friend() {
        let people = everyone();
        let names: HashSet<_> = people.iter().map(|person| person.name).collect();
        assert_eq!(names.len(), people.len());
        assert!(people.iter().all(|person| person.friend != person.name && names.contains(person.friend)));
    }
}
