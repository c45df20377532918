// The job in immediates: nothing to rewrite while a dispatch is in flight.
var<immediate> given: Job;
