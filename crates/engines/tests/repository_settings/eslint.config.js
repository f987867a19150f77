throw new Error("the configuration of the repository ran");
