// What is asked of the server.

const ask = async (name, question) => {
  const how = question && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  };
  let response;
  try {
    response = await fetch(name, how);
  } catch {
    throw new Error("The program has ended. Start capsnet-dist demo again, and load this page anew.");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
};
