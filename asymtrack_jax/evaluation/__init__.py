"""From a tracker and a data set to the numbers that papers print."""
