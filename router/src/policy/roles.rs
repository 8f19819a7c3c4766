//! A set of the policy's roles, by their places in it: small, so that the rights of a caller are found without asking for memory.

/// How many roles a policy has at most.
pub(crate) const ROLES_MAX: usize = 512;
const WORD: usize = u64::BITS as usize;

/// Some roles of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct RoleSet([u64; ROLES_MAX / WORD]);

impl RoleSet {
    /// Whether the role at this place is one of them.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / WORD).is_some_and(|word| word >> (at % WORD) & 1 == 1)
    }
}

impl FromIterator<usize> for RoleSet {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut set = Self::default();
        for at in places {
            // A role beyond the bound, which no config that was checked has, allows nothing.
            if let Some(word) = set.0.get_mut(at / WORD) {
                *word |= 1 << (at % WORD);
            }
        }
        set
    }
}
