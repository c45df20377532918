// One head.
alias Word = u32;
const LANES = 0u;
fn lowest(keys: Word) -> u32 { return keys; }
