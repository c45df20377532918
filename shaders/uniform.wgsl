// The job in a uniform buffer, for adapters whose immediates are too few.
@group(0) @binding(1) var<uniform> given: Job;
