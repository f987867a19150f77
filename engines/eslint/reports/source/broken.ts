const unfinished = {
